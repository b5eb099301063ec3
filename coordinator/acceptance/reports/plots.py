"""The plots of an HTML report, as SVG without text: each stretches to the width that there is.

Words stand in the HTML around them, so nothing becomes too small to read. Lines keep their width
(``non-scaling-stroke``), and a dot is a line of no length with round ends, so that nothing is
distorted. In all of them the right side is the worse one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["difference_bins", "histogram", "interval_row", "stretch", "tally"]

BINS = 25
REACH_LEAST, REACH_MOST = 1.5, 5.0


def stretch(bounds: Sequence[tuple[float, float]]) -> float:
    """How many margins an axis shows to each side, so that all intervals fit, up to a limit.

    Args:
        bounds: of each interval, as worsening in margins.
    """
    furthest = max((abs(bound) for pair in bounds for bound in pair if np.isfinite(bound)), default=0.0)
    return float(min(max(1.15 * furthest, REACH_LEAST), REACH_MOST))


def interval_row(low: float, at: float, high: float, reach: float, state: str) -> str:
    """One interval against its margin; an arrow where it lies beyond the axis.

    Args:
        low, at, high: worsening, in margins. reach: of the axis, from ``-reach`` to ``reach`` margins.
        state: class of the marks.
    """

    def x(value: float) -> float:
        return round(500 + 500 * min(max(value, -reach), reach) / reach, 1)

    marks = [
        f'<rect class="beyond" x="{x(1)}" y="0" width="{1000 - x(1):.1f}" height="24"/>',
        f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="0" y2="24"/>',
        f'<line class="margin" x1="{x(1)}" x2="{x(1)}" y1="0" y2="24"/>',
        f'<line class="span {state}" x1="{x(low)}" x2="{x(high)}" y1="12" y2="12"/>',
    ]
    if abs(at) <= reach:
        marks.append(f'<line class="dot {state}" x1="{x(at)}" x2="{x(at)}" y1="12" y2="12"/>')
    if at < -reach:
        marks.append(f'<polyline class="off {state}" points="12,5 2,12 12,19"/>')
    if at > reach:
        marks.append(f'<polyline class="off {state}" points="988,5 998,12 988,19"/>')
    return _svg(24, marks)


def difference_bins(worsening_N: NDArray[np.float64]) -> tuple[NDArray[np.int64], float]:
    """Counts of differences, int64 [BINS], on an axis from minus to plus the largest one; and that one.

    The middle bin holds those around zero.
    """
    most = float(np.abs(worsening_N).max()) if len(worsening_N) else 0.0
    if most == 0:
        counts_B = np.zeros(BINS, dtype=np.int64)
        counts_B[BINS // 2] = len(worsening_N)
        return counts_B, 0.0
    counts_B, _ = np.histogram(worsening_N, bins=BINS, range=(-most, most))
    return counts_B.astype(np.int64), most


def histogram(counts_B: NDArray[np.int64]) -> str:
    """Bars of the differences of single examples: what got better to the left, what got worse to the right."""
    highest, width = max(1, int(counts_B.max())), 1000 / len(counts_B)
    middle = len(counts_B) // 2
    bars = []
    for number, count in enumerate(counts_B.tolist()):
        if count:
            side = "better" if number < middle else "worse" if number > middle else "same"
            height = 96 * count / highest
            bars.append(
                f'<rect class="{side}" x="{number * width + 2:.1f}" y="{100 - height:.1f}" '
                f'width="{width - 4:.1f}" height="{height:.1f}"/>'
            )
    return _svg(100, [*bars, '<line class="zero" x1="0" x2="1000" y1="100" y2="100"/>'])


def tally(parts: Sequence[tuple[str, int]]) -> str:
    """One bar, cut into parts: (class, count) each, from the left."""
    total, at, bars = max(1, sum(count for _, count in parts)), 0.0, []
    for name, count in parts:
        width = 1000 * count / total
        if count:
            bars.append(f'<rect class="{name}" x="{at:.1f}" y="0" width="{max(width - 2, 2):.1f}" height="24"/>')
        at += width
    return _svg(24, bars)


def _svg(height: int, marks: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 1000 {height}" preserveAspectRatio="none" aria-hidden="true" style="height:{height}px">'
    return f"{head}{''.join(marks)}</svg>"
