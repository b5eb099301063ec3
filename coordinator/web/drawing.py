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
BAR = 10  # how high a bar is
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
    marks = [_line("rule", (0, y), (WIDTH, y)) for y in (EDGE, HEIGHT - EDGE)]
    if len(drawn) > 1:
        marks.append(_polyline("line", " ".join(f"{x},{y}" for x, y in drawn)))
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
    return _svg(BAR, "share-svg", [_bar("rest", 0.0, 1.0), *parts])


def _bar(kind: str, start: float, end: float) -> Markup:
    """From one share of the width to another; as much as can be seen, where there is anything."""
    width = max(3.0 if end > start else 0.0, WIDTH * (end - start))
    return _rect(kind, f"{WIDTH * start:.1f}", f"{width:.1f}", BAR)


def _dot(kind: str, x: float, y: float) -> Markup:
    """A line of no length with round ends: it keeps its shape however far the picture is stretched."""
    return _line(kind, (x, y), (x, y))


def _line(kind: str, start: tuple[float, float], end: tuple[float, float]) -> Markup:
    (x1, y1), (x2, y2) = start, end
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(kind, x1, x2, y1, y2)


def _polyline(kind: str, points: str) -> Markup:
    return Markup('<polyline class="{}" points="{}"/>').format(kind, points)


def _rect(kind: str, x: str, width: str, height: int) -> Markup:
    return Markup('<rect class="{}" x="{}" y="0" width="{}" height="{}"/>').format(kind, x, width, height)


def _svg(height: int, name: str, marks: Sequence[Markup]) -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        name, WIDTH, height, Markup("").join(marks)
    )


def interval_svg(bounds: tuple[float, float, float], reach: float, state: str) -> Markup:
    """An interval against its margin: the right is worse, the shaded part is worse by more than the margin.

    Args:
        bounds: low, effect and high as worsening, in margins. reach: of the axis, to each side.
    """

    def x(value: float) -> float:
        return round(WIDTH / 2 * (1 + min(max(value, -reach), reach) / reach), 1)

    low, effect, high = bounds
    marks = [
        _rect("beyond", str(x(1)), f"{WIDTH - x(1):.1f}", 24),
        _line("zero", (x(0), 0), (x(0), 24)),
        _line("margin", (x(1), 0), (x(1), 24)),
        _line(f"span {state}", (x(low), 12), (x(high), 12)),
    ]
    if abs(effect) <= reach:
        marks.append(_dot(f"dot {state}", x(effect), 12))
    else:
        points = "12,5 2,12 12,19" if effect < 0 else f"{WIDTH - 12},5 {WIDTH - 2},12 {WIDTH - 12},19"
        marks.append(_polyline(f"off {state}", points))
    return _svg(24, "interval-svg", marks)


def value_svg(value: float, most: float) -> Markup:
    """A bar from the middle: to the right where the value is positive."""
    part = 0.5 * min(1.0, abs(value) / most) if most > 0 else 0.0
    start, end = (0.5, 0.5 + part) if value >= 0 else (0.5 - part, 0.5)
    bars = [_bar("good" if value >= 0 else "soft", start, end)] if part else []
    return _svg(BAR, "value-svg", [*bars, _line("zero", (WIDTH / 2, 0), (WIDTH / 2, BAR))])


def strip_svg(tones: Sequence[str]) -> Markup:
    """A field for each of a row of things, in the colour of its tone; pale where there is none."""
    width = WIDTH / max(1, len(tones))
    fields = [
        _rect(tone or "rest", f"{place * width:.1f}", f"{0.86 * width:.1f}", BAR) for place, tone in enumerate(tones)
    ]
    return _svg(BAR, "strip-svg", fields)
