"""A curve as SVG, for who has no script and until the script has drawn a better one.

Words stand in the HTML around it. Nothing in it has a style of its own (the policy of the pages allows none):
classes say what a mark is, and the style sheet what that looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from markupsafe import Markup

from coordinator.web.curves import Curve

__all__ = ["Scale", "curve_svg", "interval_svg", "share_svg", "strip_svg", "thinned", "value_svg"]

WIDTH, HEIGHT, EDGE = 1000, 200, 8
MARKS_MOST = 400
CURVES_KEPT = 128


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to heights; ``low`` is at the bottom."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Scale:
        low, high = min(values, default=0.0), max(values, default=1.0)
        if high - low <= 1e-12 * max(1.0, abs(high)):
            low, high = low - 0.5, high + 0.5
        return cls(low, high)

    def y(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * part, 1)


def thinned(count: int, most: int) -> list[int]:
    """Which of ``count`` points to draw: all, or ``most`` of them evenly, the last one always."""
    if count <= most:
        return list(range(count))
    return sorted({round(index * (count - 1) / (most - 1)) for index in range(most)})


@lru_cache(maxsize=CURVES_KEPT)
def curve_svg(curve: Curve) -> Markup:
    """Releases as a line with dots, rejected candidates as crosses."""
    released = [index for index, point in enumerate(curve.points) if point.accepted]
    rejected = [index for index, point in enumerate(curve.points) if not point.accepted]
    scale = Scale.of(curve.released or curve.values)
    last = max(curve.places, default=1) or 1

    def at(index: int) -> tuple[float, float]:
        y = min(max(scale.y(curve.values[index]), 0.0), float(HEIGHT))
        return round(EDGE + (WIDTH - 2 * EDGE) * curve.places[index] / last, 1), y

    drawn = [at(released[index]) for index in thinned(len(released), MARKS_MOST)]
    marks = [f'<line class="rule" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>' for y in (EDGE, HEIGHT - EDGE)]
    if len(drawn) > 1:
        marks.append(f'<polyline class="line" points="{" ".join(f"{x},{y}" for x, y in drawn)}"/>')
    if len(drawn) <= 60:
        marks += [_dot("dot", x, y) for x, y in drawn]
    marks += [_dot("miss", *at(rejected[index])) for index in thinned(len(rejected), MARKS_MOST)]
    return _svg(HEIGHT, "curve-svg", marks)


def share_svg(shares: Sequence[tuple[str, float]]) -> Markup:
    """One bar, cut into parts: (class, share of the whole) each, from the left."""
    ends = [0.0]
    for _, share in shares:
        ends.append(min(1.0, ends[-1] + max(0.0, share)))
    parts = [_bar(name, start, end) for (name, _), (start, end) in zip(shares, pairwise(ends), strict=True)]
    return _svg(10, "share-svg", [_bar("rest", 0.0, 1.0), *parts])


def _bar(kind: str, start: float, end: float) -> str:
    """From one share of the width to another; as much as can be seen, where there is anything."""
    width = max(3.0 if end > start else 0.0, WIDTH * (end - start))
    return f'<rect class="{kind}" x="{WIDTH * start:.1f}" y="0" width="{width:.1f}" height="10"/>'


def _dot(kind: str, x: float, y: float) -> str:
    """A line of no length with round ends: it keeps its shape however far the picture is stretched."""
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="{y}" y2="{y}"/>'


def _svg(height: int, name: str, marks: Sequence[str]) -> Markup:
    head = f'<svg class="{name}" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" aria-hidden="true">'
    return Markup(f"{head}{''.join(marks)}</svg>")  # noqa: S704  # numbers and our own class names only


def interval_svg(bounds: tuple[float, float, float], reach: float, state: str) -> Markup:
    """An interval against its margin: the right is worse, the shaded part is worse by more than the margin.

    Args:
        bounds: low, effect and high as worsening, in margins. reach: of the axis, to each side.
    """

    def x(value: float) -> float:
        return round(WIDTH / 2 * (1 + min(max(value, -reach), reach) / reach), 1)

    low, effect, high = bounds
    marks = [
        f'<rect class="beyond" x="{x(1)}" y="0" width="{WIDTH - x(1):.1f}" height="24"/>',
        f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="0" y2="24"/>',
        f'<line class="margin" x1="{x(1)}" x2="{x(1)}" y1="0" y2="24"/>',
        f'<line class="span {state}" x1="{x(low)}" x2="{x(high)}" y1="12" y2="12"/>',
    ]
    if abs(effect) <= reach:
        marks.append(f'<line class="dot {state}" x1="{x(effect)}" x2="{x(effect)}" y1="12" y2="12"/>')
    else:
        points = "12,5 2,12 12,19" if effect < 0 else f"{WIDTH - 12},5 {WIDTH - 2},12 {WIDTH - 12},19"
        marks.append(f'<polyline class="off {state}" points="{points}"/>')
    return _svg(24, "interval-svg", marks)


def value_svg(value: float, most: float) -> Markup:
    """A bar from the middle: to the right where the value is positive."""
    part = 0.5 * min(1.0, abs(value) / most) if most > 0 else 0.0
    start, end = (0.5, 0.5 + part) if value >= 0 else (0.5 - part, 0.5)
    bar = _bar("good" if value >= 0 else "soft", start, end) if part else ""
    return _svg(10, "value-svg", [bar, f'<line class="zero" x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="0" y2="10"/>'])


def strip_svg(tones: Sequence[str]) -> Markup:
    """A field for each of a row of things, in the colour of its tone; pale where there is none."""
    width = WIDTH / max(1, len(tones))
    fields = [
        f'<rect class="{tone or "rest"}" x="{place * width:.1f}" y="0" width="{0.86 * width:.1f}" height="10"/>'
        for place, tone in enumerate(tones)
    ]
    return _svg(10, "strip-svg", fields)
