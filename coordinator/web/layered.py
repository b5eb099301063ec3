"""A family as a drawing in layers: parents above their children, few crossings, nothing on top of another.

Four steps, each of which can be read alone: layers by the longest way from a root; long edges cut
into one piece a layer; orders within the layers so that few edges cross; places along the layers as
near to the neighbours as the distance between two nodes allows.

V  nodes, those that only bend an edge too
E  edges between neighbouring layers

Source: Sugiyama, Tagawa and Toda 1981, https://doi.org/10.1109/TSMC.1981.4308636 (layers, barycentres);
crossings counted after Barth, Juenger and Mutzel 2002, https://doi.org/10.1007/3-540-36151-0_13; places by
least squares under an order, which pooling adjacent violators solves: Ayer et al. 1955,
https://doi.org/10.1214/aoms/1177728423.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Drawn", "crossings", "draw", "nearest_places"]

N = TypeVar("N", bound=Hashable)

SWEEPS = 8  # over all layers, down and up; the best order of all is kept
SETTLE = 6
TRUNK = 1e6  # how much more a place in the trunk weighs than one beside it


@dataclass(frozen=True, slots=True)
class Drawn(Generic[N]):
    """Where everything is.

    Attributes:
        places: node -> (how far along its layer, layer); neighbours in a layer are at least 1 apart, the least place
            is 0. A parent's layer is less than its child's.
        paths: edge -> the places that it goes through, from parent to child.
        width, layers: the extent.
    """

    places: Mapping[N, tuple[float, int]]
    paths: Mapping[tuple[N, N], tuple[tuple[float, int], ...]]
    width: float
    layers: int


def draw(nodes: Sequence[N], edges: Iterable[tuple[N, N]], trunk: Collection[N] = ()) -> Drawn[N]:
    """Draw a family. The same nodes and edges in the same order give the same drawing.

    Args:
        nodes: each once. edges: (parent, child), of nodes that are there.
        trunk: nodes whose line is to be straight, even if others have to go round it.

    Raises:
        ValueError: somebody is their own ancestor.
    """
    wanted = list(dict.fromkeys(edges))
    layer_of = _layers(nodes, wanted)
    rows, pieces, chains = _cut(nodes, wanted, layer_of)
    down: dict[int, list[int]] = {}
    up: dict[int, list[int]] = {}
    for above, below in pieces:
        down.setdefault(above, []).append(below)
        up.setdefault(below, []).append(above)
    rows = _ordered(rows, down, up)
    index = {node: number for number, node in enumerate(nodes)}
    at = _placed(rows, down, up, frozenset(index[node] for node in trunk))
    layer = {node: number for number, row in enumerate(rows) for node in row}
    return Drawn(
        places={node: (at[index[node]], layer[index[node]]) for node in nodes},
        paths={edge: tuple((at[node], layer[node]) for node in chain) for edge, chain in chains.items()},
        width=max(at.values(), default=0.0),
        layers=len(rows),
    )


def _layers(nodes: Sequence[N], edges: Sequence[tuple[N, N]]) -> dict[N, int]:
    """Node -> the edges on the longest way to it."""
    children: dict[N, list[N]] = {node: [] for node in nodes}
    missing = dict.fromkeys(nodes, 0)
    for parent, child in edges:
        children[parent].append(child)
        missing[child] += 1
    layer = dict.fromkeys(nodes, 0)
    ready = [node for node in nodes if not missing[node]]
    for node in ready:  # grows while it is walked
        for child in children[node]:
            layer[child] = max(layer[child], layer[node] + 1)
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    if len(ready) < len(nodes):
        raise ValueError("a family in which somebody is their own ancestor cannot be drawn")
    return layer


def _cut(
    nodes: Sequence[N], edges: Sequence[tuple[N, N]], layer_of: Mapping[N, int]
) -> tuple[list[list[int]], list[tuple[int, int]], dict[tuple[N, N], list[int]]]:
    """Rows of numbered nodes, edges between neighbouring rows, and the numbers that every edge leads through."""
    index = {node: number for number, node in enumerate(nodes)}
    rows: list[list[int]] = [[] for _ in range(max(layer_of.values(), default=-1) + 1)]
    for node in nodes:
        rows[layer_of[node]].append(index[node])
    bends = len(nodes)
    pieces, chains = [], {}
    for parent, child in edges:
        between = range(layer_of[parent] + 1, layer_of[child])
        chain = [index[parent], *range(bends, bends + len(between)), index[child]]
        for layer, bend in zip(between, chain[1:-1], strict=True):
            rows[layer].append(bend)
        bends += len(between)
        pieces += list(itertools.pairwise(chain))
        chains[parent, child] = chain
    return rows, pieces, chains


def _ordered(rows: list[list[int]], down: Mapping[int, list[int]], up: Mapping[int, list[int]]) -> list[list[int]]:
    """Rows in the order with the fewest crossings that sweeping finds."""
    best, fewest = rows, _all_crossings(rows, down)
    current = rows
    for sweep in range(SWEEPS):
        if not fewest:
            break
        going_down = sweep % 2 == 0
        current = _swept(current, up if going_down else down, going_down=going_down)
        found = _all_crossings(current, down)
        if found < fewest:
            best, fewest = current, found
    return best


def _swept(rows: list[list[int]], towards: Mapping[int, list[int]], *, going_down: bool) -> list[list[int]]:
    """Each row by the mean place of its neighbours in the row before; who has none keeps its place."""
    swept = [list(row) for row in rows]
    order = range(1, len(rows)) if going_down else range(len(rows) - 2, -1, -1)
    for number in order:
        before = swept[number - 1 if going_down else number + 1]
        place = {node: at for at, node in enumerate(before)}
        key = {}
        for at, node in enumerate(swept[number]):
            near = [place[other] for other in towards.get(node, ())]
            key[node] = sum(near) / len(near) if near else float(at)
        swept[number].sort(key=lambda node: key[node])
    return swept


def _all_crossings(rows: Sequence[Sequence[int]], down: Mapping[int, list[int]]) -> int:
    return sum(crossings(above, below, down) for above, below in itertools.pairwise(rows))


def crossings(above: Sequence[int], below: Sequence[int], down: Mapping[int, list[int]]) -> int:
    """How many pairs of edges between two rows cross, each row in its order."""
    place = {node: at for at, node in enumerate(below)}
    seen: list[int] = []
    count = 0
    for node in above:
        ends = sorted(place[child] for child in down.get(node, ()))
        count += sum(len(seen) - bisect_right(seen, end) for end in ends)
        for end in ends:
            insort(seen, end)
    return count


def _placed(
    rows: Sequence[Sequence[int]],
    down: Mapping[int, list[int]],
    up: Mapping[int, list[int]],
    trunk: frozenset[int],
) -> dict[int, float]:
    """Node -> how far along its row: near to its neighbours, and at least 1 from the next one."""
    at = {node: float(number) for row in rows for number, node in enumerate(row)}
    for turn in range(SETTLE):
        for row in rows if turn % 2 == 0 else reversed(rows):
            towards = up if turn % 2 == 0 else down
            wishes = [_wish(node, towards.get(node, ()), at, trunk) for node in row]
            weights = [TRUNK if node in trunk else 1.0 for node in row]
            at.update(zip(row, nearest_places(wishes, weights), strict=True))
    least = min(at.values(), default=0.0)
    return {node: round(place - least, 3) for node, place in at.items()}


def _wish(node: int, near: Sequence[int], at: Mapping[int, float], trunk: frozenset[int]) -> float:
    """The mean place of a node's neighbours; of the trunk, that of those who belong to it, too."""
    kin = [other for other in near if other in trunk] if node in trunk else near
    return sum(at[other] for other in kin) / len(kin) if kin else at[node]


def nearest_places(wishes: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The places with the least weighted sum of squared distances from ``wishes`` that are in order and 1 apart."""
    blocks: list[tuple[float, float, int]] = []  # mean of wishes, each less what stands before it; weight; length
    for number, (wish, weight) in enumerate(zip(wishes, weights, strict=True)):
        mean, length = wish - number, 1
        while blocks and blocks[-1][0] > mean:
            other, heavy, others = blocks.pop()
            mean = (mean * weight + other * heavy) / (weight + heavy)
            weight, length = weight + heavy, length + others
        blocks.append((mean, weight, length))
    flat = [mean for mean, _, length in blocks for _ in range(length)]
    return [mean + number for number, mean in enumerate(flat)]
