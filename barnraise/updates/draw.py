"""A random subset, drawn one element after the other, as symbols for a range coder.

Of ``size`` places ``left`` are chosen, all subsets being equally likely. The first chosen
place is ``p`` or later with probability ``C(size - p, left) / C(size, left)``; it may be one
of ``size - left + 1`` candidates, and each gets at least one slot. What follows is a smaller
subset of the places after it. Together this costs ``log2(C(size, left))`` bits, the entropy.

N  draws that are encoded at once
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from barnraise.updates.tables import FRACTION, ONE, log_factorials, powers

__all__ = ["find", "slots", "subset_bits"]


def subset_bits(sizes_N: NDArray[np.int64], lefts_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """``log2(C(size, left))`` with ``FRACTION`` fraction bits, int64 [N]; sizes up to 4,096."""
    table = log_factorials()
    bits: NDArray[np.uint32] = table[sizes_N] - table[lefts_N] - table[sizes_N - lefts_N]
    return bits.astype(np.int64)


def slots(
    sizes_N: NDArray[np.int64], lefts_N: NDArray[np.int64], places_N: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and width, int64 [N] each, of the symbols "the first chosen place is ``place``"."""
    starts_N = _below(sizes_N, lefts_N, places_N)
    last_N = places_N == sizes_N - lefts_N
    after_N = _below(sizes_N, lefts_N, np.where(last_N, 0, places_N + 1))
    return starts_N, np.where(last_N, ONE, after_N) - starts_N


def _below(sizes_N: NDArray[np.int64], lefts_N: NDArray[np.int64], places_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Slots of all places before ``place``, which is a candidate; int64 [N]."""
    table = log_factorials()
    whole_N: NDArray[np.uint32] = table[sizes_N] - table[sizes_N - lefts_N]
    rest_N: NDArray[np.uint32] = table[sizes_N - places_N] - table[sizes_N - lefts_N - places_N]
    gone_N = ONE - _power((whole_N - rest_N).astype(np.int64))
    starts_N: NDArray[np.int64] = places_N + ((gone_N * (ONE - (sizes_N - lefts_N + 1))) >> 24)
    return starts_N


def _power(exponents_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """``ONE * 2 ** -exponent``, int64 [N]: a table with straight lines between its points."""
    table = powers().astype(np.int64)
    steps_N, rest_N = (exponents_N >> 9) & 1023, exponents_N & 511
    above_N = table[steps_N]
    values_N: NDArray[np.int64] = above_N - (((above_N - table[steps_N + 1]) * rest_N) >> 9)
    whole_N = exponents_N >> FRACTION
    values_N >>= np.where(whole_N < 24, whole_N, 25)
    return values_N


def find(size: int, left: int, slot: int) -> tuple[int, int, int]:
    """The place whose symbol has a slot: (place, start, width). The search begins at a good guess."""
    factorials, _ = _lists()
    candidates = size - left + 1
    whole = factorials[size] - factorials[size - left]
    place = min(int((1 - ((ONE - slot) / ONE) ** (1 / left)) * (size - (left - 1) / 2)), candidates - 1)
    start = _start(size, left, whole, place)
    while start > slot:
        place -= 1
        start = _start(size, left, whole, place)
    stop = _start(size, left, whole, place + 1) if place + 1 < candidates else ONE
    while stop <= slot:
        place += 1
        start = stop
        stop = _start(size, left, whole, place + 1) if place + 1 < candidates else ONE
    return place, start, stop - start


def _start(size: int, left: int, whole: int, place: int) -> int:
    """As :func:`_below`, of one draw."""
    factorials, table = _lists()
    exponent = (whole - factorials[size - place] + factorials[size - left - place]) & 0xFFFFFFFF
    steps = exponent >> FRACTION
    gone = ONE
    if steps < 24:
        above, below = table[exponent >> 9 & 1023], table[(exponent >> 9 & 1023) + 1]
        gone -= (above - ((above - below) * (exponent & 511) >> 9)) >> steps
    return place + (gone * (ONE - (size - left + 1)) >> 24)


@cache
def _lists() -> tuple[list[int], list[int]]:
    """The tables as Python's integers, which one element at a time are much faster."""
    return log_factorials().tolist(), powers().tolist()
