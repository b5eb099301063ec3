"""Large parts of a round, among which one is likely to have no culprit in it.

Half of the updates pass if the other half has all culprits. If neither does, parts are built from
two blocks each: blocks are dealt to groups, and every two of one group are a part. Where fewer than
``blocks - groups`` blocks have a culprit, two blocks of one group have none, since there are more
blocks without than groups. So

    6 blocks in 2 groups      6 parts    a third each       one of them passes with up to 3 culprits
    7 in 2, or 8 in 3         9 or 7     a quarter          up to 4
    12 in 5                   9          a sixth            up to 6

Source: Turan 1941, on how few pairs are enough for one to lie in every set of a size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["parts_to_stand_on"]

Updates = tuple[str, ...]
FEWEST = 12  # of a smaller round no part of this kind is large


def parts_to_stand_on(updates: Sequence[str], weights: Mapping[str, float]) -> Iterator[Updates]:
    """Parts of a round, larger ones first; of one size those first that are least suspected."""
    if len(updates) < FEWEST:
        return
    for blocks, groups in _layouts(len(updates)):
        parts = _parts(updates, blocks, groups)
        yield from sorted(parts, key=lambda part: math.fsum(weights[update] for update in part))


def _layouts(count: int) -> Iterator[tuple[int, int]]:
    """Blocks and groups, one layout after the other."""
    yield 6, 2
    yield (7, 2) if count % 8 else (8, 3)  # two eighths that were rounded down are less than a quarter
    if count >= 2 * FEWEST:
        yield 12, 5


def _parts(updates: Sequence[str], blocks: int, groups: int) -> list[Updates]:
    """Every two blocks of a group."""
    cut = [tuple(updates[start:end]) for start, end in _evenly(len(updates), blocks)]
    dealt = [cut[start:end] for start, end in _evenly(blocks, groups)]
    return [one + other for members in dealt for one, other in itertools.combinations(members, 2)]


def _evenly(length: int, parts: int) -> list[tuple[int, int]]:
    """Starts and ends; the parts that are larger by one lie between the others, not side by side."""
    ends = [round(length * place / parts) for place in range(parts + 1)]
    return list(itertools.pairwise(ends))
