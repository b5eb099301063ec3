"""A loss curve as SVG: a line, three marks at the side, no script and no library."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["curve_svg"]

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 10, 26


def curve_svg(losses: Sequence[float], stride: int, unit: str) -> str:
    """Losses over steps; "" for fewer than two.

    Args:
        losses: one of every ``stride`` steps, finite. unit: of a loss.
    """
    if len(losses) < 2:
        return ""
    low, high = min(losses), max(losses)
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    points = " ".join(f"{_x(i, len(losses)):.1f},{_y(loss, low, high):.1f}" for i, loss in enumerate(losses))
    marks = "".join(_mark(value, low, high) for value in (high, (high + low) / 2, low))
    last = (len(losses) - 1) * stride + 1
    summary = f"{len(losses)} points over {last:,} steps, from {losses[0]:.3f} to {losses[-1]:.3f} {unit}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="training loss: {summary}">'
        f"<title>{summary}</title>{marks}"
        f'<text class="mark" x="{LEFT}" y="{HEIGHT - 8}">step 1</text>'
        f'<text class="mark" x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">step {last:,}</text>'
        f'<polyline class="curve" points="{points}"/></svg>'
    )


def _x(index: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * index / (count - 1)


def _y(loss: float, low: float, high: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low)


def _mark(value: float, low: float, high: float) -> str:
    y = _y(value, low, high)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="mark" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3f}</text>'
    )
