"""Calls of the loops over dense rows: weighted sums, sorted means, inner products.

Addresses go in, because this package knows no torch; :mod:`merge.elementwise` and
:mod:`merge.gram` are who calls, and guard what is promised here: every row has the same
number of elements, is contiguous and aligned, and outlives the call.

K  rows
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from barnraise.native import library, spread, threads

__all__ = ["KINDS", "Rows", "gram_sums", "narrow", "prefer_large_pages", "sorted_mean", "square_sums", "weighted_sum"]

KINDS = {"float32": 0, "bfloat16": 1, "float16": 2}  # the same numbers as in src/rows.h
GRAIN = 1 << 14  # elements: below, another thread costs more than it takes off
BLOCK = 4096  # elements that are summed together, as in src/gram.c
BLOCKS_GRAIN = 4
SCRATCH_BYTES = 8 << 20  # of sums of blocks


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the rows lie.

    Attributes:
        addresses: of the first element of every row.
        kinds: of every row, by :data:`KINDS`.
        size: elements of each.
    """

    addresses: Sequence[int]
    kinds: Sequence[int]
    size: int

    def arguments(self) -> tuple[ctypes.Array[ctypes.c_void_p], ctypes.Array[ctypes.c_uint8]]:
        count = len(self.addresses)
        return (ctypes.c_void_p * count)(*self.addresses), (ctypes.c_uint8 * count)(*self.kinds)


def weighted_sum(rows: Rows, factors: Sequence[float], out: int) -> None:
    """Write ``((row_0 * factor_0) + row_1 * factor_1) + ...`` to float32 [size] at ``out``."""
    function = _function("barnraise_weighted_sum", "ppp nnn p")
    places, kinds = rows.arguments()
    factors_K = (ctypes.c_float * len(factors))(*factors)
    count = len(rows.addresses)

    def work(start: int, end: int) -> None:
        function(places, kinds, factors_K, count, start, end, out)

    spread(work, rows.size, GRAIN)


def narrow(values: int, kind: int, size: int, out: int) -> None:
    """Write float32 [size] at ``values`` to ``out`` as one of the 16-bit :data:`KINDS`, rounded to nearest."""
    _function("barnraise_narrow", "pnnp")(values, kind, size, out)


def sorted_mean(rows: Rows, pairs: Sequence[tuple[int, int]], drop: int, keep: int, out: int) -> None:
    """Sort every column with the network ``pairs`` and write a mean to float32 [size] at ``out``.

    Args:
        drop: ranks left out at each end, if ``keep`` is 0.
        keep: values nearest the median that are kept.

    Raises:
        MemoryError: a few kilobytes for each row could not be had.
    """
    function = _function("barnraise_sorted_mean", "ppn pn nn nn p", ctypes.c_int)
    places, kinds = rows.arguments()
    count = len(rows.addresses)
    network = (ctypes.c_int32 * (2 * len(pairs)))(*(rank for pair in pairs for rank in pair))

    def work(start: int, end: int) -> None:
        if function(places, kinds, count, network, len(pairs), drop, keep, start, end, out):
            raise MemoryError

    spread(work, rows.size, GRAIN)


def gram_sums(rows: Rows) -> ctypes.Array[ctypes.c_double]:
    """Inner products of all pairs, float64, the upper triangle row by row.

    Raises:
        MemoryError: room for some blocks' sums could not be had.
    """
    function = _function("barnraise_gram_blocks", "ppn nnn p", ctypes.c_int)
    count = len(rows.addresses)
    return _block_sums(rows, function, count * (count + 1) // 2)


def square_sums(rows: Rows) -> ctypes.Array[ctypes.c_double]:
    """Sums of squares, float64 [K]: the products of every row with itself."""
    return _block_sums(rows, _function("barnraise_square_blocks", "ppn nnn p"), len(rows.addresses))


def _block_sums(rows: Rows, function: Callable[..., int | None], width: int) -> ctypes.Array[ctypes.c_double]:
    """``width`` sums of every block, shared out; then the blocks are added in order, some at a time."""
    places, kinds = rows.arguments()
    blocks = -(-rows.size // BLOCK)
    at_once = min(blocks, max(4 * threads(), SCRATCH_BYTES // (8 * width)))
    total = (ctypes.c_double * width)()
    sums = (ctypes.c_double * (at_once * width))()
    add = _function("barnraise_add_in_order", "ppnn")
    for first in range(0, blocks, max(1, at_once)):

        def work(start: int, end: int, first: int = first) -> None:
            place = ctypes.addressof(sums) + 8 * width * start
            if function(places, kinds, len(rows.addresses), rows.size, first + start, first + end, place):
                raise MemoryError

        wave = min(at_once, blocks - first)
        spread(work, wave, BLOCKS_GRAIN)
        add(total, sums, wave, width)
    return total


def prefer_large_pages(address: int, size_bytes: int) -> None:
    """Ask the system to back new memory with large pages; it may not."""
    _function("barnraise_prefer_large_pages", "pn")(address, size_bytes)


@cache
def _function(name: str, arguments: str, result: type[ctypes.c_int] | None = None) -> Callable[..., int | None]:
    """A loop with its arguments declared: ``p`` an address, ``n`` a number of 64 bits."""
    loaded = library()
    if loaded is None:
        raise RuntimeError("the compiled loops are not there; ask barnraise.native.available() first")
    types: dict[str, type[ctypes.c_void_p] | type[ctypes.c_int64]] = {"p": ctypes.c_void_p, "n": ctypes.c_int64}
    function = loaded[name]
    function.argtypes = [types[letter] for letter in arguments if letter != " "]
    function.restype = result
    return function
