"""Sort many short columns at once, by comparing whole rows.

A round has few updates and millions of elements, so the rows of [K, P] are sorted against
each other with a fixed network of comparisons. Each comparison is two element-wise
operations over P, which a vector unit does at the speed of memory; a general sort would walk
every column on its own.

K  rows
P  columns

Source: Batcher's merge exchange, Knuth, The Art of Computer Programming vol. 3, 5.2.2,
algorithm M.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["comparisons", "network", "sort_rows"]


def sort_rows(rows: Sequence[Tensor]) -> list[Tensor]:
    """Sort every column.

    Args:
        rows: K tensors float32 [P], finite; they are not changed.

    Returns:
        K tensors float32 [P], element-wise ascending. Zeros of both signs count as equal.
    """
    ordered = list(rows)
    for low, high in network(len(ordered)):
        first_P, second_P = ordered[low], ordered[high]
        ordered[low], ordered[high] = torch.minimum(first_P, second_P), torch.maximum(first_P, second_P)
    return ordered


@lru_cache(maxsize=64)
def network(count: int) -> tuple[tuple[int, int], ...]:
    """All of :func:`comparisons`, kept: a merge asks for them again with every piece."""
    return tuple(comparisons(count))


def comparisons(count: int) -> Iterator[tuple[int, int]]:
    """The pairs (low, high) to compare and exchange, in order, that sort any ``count`` values."""
    if count < 2:
        return
    top = 1 << ((count - 1).bit_length() - 1)
    stride = top
    while stride:
        merging, offset, distance = top, 0, stride
        while True:
            yield from ((i, i + distance) for i in range(count - distance) if i & stride == offset)
            if merging == stride:
                break
            distance, merging, offset = merging - stride, merging // 2, stride
        stride //= 2
