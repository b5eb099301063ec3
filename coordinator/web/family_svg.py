"""A drawn family as SVG: boxes that are links, the newest at the top, nothing with a style of its own."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from coordinator.web.pages.lineage import Family, Kin

__all__ = ["family_svg"]

ACROSS, DOWN = 150, 58  # pixels from one place, or layer, to the next
BOX_WIDTH, BOX_HEIGHT = 132, 32
EDGE = 12
LETTERS = 18


def family_svg(family: Family) -> Markup:
    """The whole family. What it shows stands in the page's table as well, so readers of that lose nothing."""
    width = round(family.drawn.width * ACROSS + BOX_WIDTH + 2 * EDGE)
    height = max(family.drawn.layers - 1, 0) * DOWN + BOX_HEIGHT + 2 * EDGE
    lines = Markup("").join(
        Markup('<polyline points="{}"/>').format(_points(family.drawn.paths[above, label], family.drawn.layers))
        for label, above in family.ancestors.items()
    )
    boxes = Markup("").join(
        _box(kin, *_place(family.drawn.places[kin.label], family.drawn.layers)) for kin in family.kin
    )
    return Markup(
        '<svg class="family-svg" id="family" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="group" '
        'aria-label="Family of models, the newest at the top">{lines}{boxes}</svg>'
    ).format(w=width, h=height, lines=lines, boxes=boxes)


def _box(kin: Kin, x: float, y: float) -> Markup:
    label = kin.label if len(kin.label) <= LETTERS else f"{kin.label[: LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"
    return Markup(
        '<a href="{href}" aria-label="{said}" class="{relation} {verdict}"><title>{said}</title>'
        '<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="6"/><text x="{x}" y="{y}">{label}</text></a>'
    ).format(
        href=kin.href,
        said=f"{kin.label}, {kin.relation}, {kin.verdict}",
        relation="release" if kin.relation == "release" else "derived",
        verdict=kin.verdict,
        left=round(x - BOX_WIDTH / 2, 1),
        top=round(y - BOX_HEIGHT / 2, 1),
        width=BOX_WIDTH,
        height=BOX_HEIGHT,
        x=round(x, 1),
        y=round(y + 4.5, 1),
        label=label,
    )


def _points(path: Iterable[tuple[float, int]], layers: int) -> str:
    return str(escape(" ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(place, layers) for place in path))))


def _place(place: tuple[float, int], layers: int) -> tuple[float, float]:
    """The middle of a box, in pixels; the last layer is at the top."""
    along, layer = place
    return EDGE + BOX_WIDTH / 2 + along * ACROSS, EDGE + BOX_HEIGHT / 2 + (layers - 1 - layer) * DOWN
