"""Calls of the loops that fit levels to a segment's entries; merge/compress/topk.py has the plain twins.

N  entries
C  chunks
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from barnraise.native.calls import at, check, function

__all__ = ["left_out", "parted", "relative"]


def relative(
    values_N: NDArray[np.float32], counts_C: NDArray[np.uint32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean magnitude of every chunk, float64 [C], and every magnitude in units of its chunk's, float64 [N]."""
    chunks, count = len(counts_C), len(values_N)
    check(values_N, np.float32, count)
    check(counts_C, np.uint32, chunks)
    assert int(counts_C.sum()) == count, (int(counts_C.sum()), count)
    width = _width(int(counts_C.max(initial=0)))
    means_C, relative_N, room = np.empty(chunks), np.empty(count), np.empty(width)
    function("relative", "ppnnppp", None)(
        at(values_N), at(counts_C), chunks, width, at(room), at(means_C), at(relative_N)
    )
    return means_C, relative_N


def parted(terms_N: NDArray[np.float64], border: float) -> tuple[int, float, float]:
    """How many terms are above the border, and the sums of those that are not and of those that are."""
    count, room, sums = _prepared(terms_N), np.empty(_width(len(terms_N))), np.empty(2)
    above = function("parted", "pnndpp", ctypes.c_int64)(at(terms_N), count, len(room), border, at(room), at(sums))
    return above, float(sums[0]), float(sums[1])


def left_out(terms_N: NDArray[np.float64], border: float, low: float, high: float) -> float:
    """The sum of squares that a level for what is above the border, and one for the rest, leave."""
    count, room = _prepared(terms_N), np.empty(_width(len(terms_N)))
    found: float = function("left_out", "pnndddp", ctypes.c_double)(
        at(terms_N), count, len(room), border, low, high, at(room)
    )
    return found


def _prepared(terms_N: NDArray[np.float64]) -> int:
    check(terms_N, np.float64, len(terms_N))
    assert len(terms_N), "there are no entries"
    return len(terms_N)


def _width(count: int) -> int:
    """The power of two that a sum is filled up to."""
    return 1 << max(count - 1, 0).bit_length()
