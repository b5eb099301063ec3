"""Calls of the loops over pruned rows: magnitudes, draws, and what pruned updates agree on.

Addresses go in, because this package knows no torch; :mod:`merge.strategies.consensus`,
:mod:`merge.magnitudes` and :mod:`merge.draws` are who calls, and guard what is promised here:
every row is float32, contiguous, as long as the others, and outlives the call.

K  rows
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from barnraise.native import library, spread

__all__ = ["CONSENSUS", "KEYS", "KINDS", "Consensus", "Row", "count_magnitudes", "count_within", "draw", "merge_pruned"]

KEYS = 1 << 15  # distinct upper halves of a magnitude
KINDS = {"keep-all": 0, "by-size": 1, "by-lot": 2, "by-lot-and-size": 3}  # the numbers of src/prune.c
CONSENSUS = {"sum": 0, "mass": 1, "count": 2}
GRAIN = 1 << 14  # elements: below, another thread costs more than it takes off
COUNT_GRAIN = 1 << 18  # every range has tables of its own, which must be cleared and added


class Row(ctypes.Structure):
    """A row and what is dropped of it; the fields of ``struct row`` in src/prune.c."""

    _fields_ = (
        ("values", ctypes.c_void_p),
        ("keeps", ctypes.c_void_p),
        ("place", ctypes.c_int64),
        ("kind", ctypes.c_int32),
        ("key", ctypes.c_uint32),
        ("low", ctypes.c_float),
        ("high", ctypes.c_float),
        ("keep", ctypes.c_float),
        ("factor", ctypes.c_float),
        ("weight", ctypes.c_float),
    )


class Consensus(ctypes.Structure):
    """How pruned rows become one; the fields of ``struct consensus`` in src/prune.c."""

    _fields_ = (("kind", ctypes.c_int32), ("divide", ctypes.c_int32), ("scale", ctypes.c_float))


def merge_pruned(rows: Sequence[Row], consensus: Consensus, size: int, out: int) -> None:
    """Write what the pruned rows agree on to float32 [size] at ``out``."""
    function = _function("barnraise_prune_and_combine", "pnpnnp")
    rows_K = (Row * len(rows))(*rows)
    rule = ctypes.byref(consensus)
    spread(lambda start, end: function(rows_K, len(rows), rule, start, end, out), size, GRAIN)


def draw(place: int, key: int, size: int, out: int) -> None:
    """Write the draws of ``size`` neighbours, the first one at ``place``, to float32 [size] at ``out``."""
    function = _function("barnraise_draws", "nunnp")
    spread(lambda start, end: function(place, key, start, end, out), size, GRAIN)


def count_magnitudes(values: int, size: int, counts: NDArray[np.int64]) -> None:
    """Add how many of float32 [size] at ``values`` have each upper half of a magnitude to int64 [KEYS]."""
    function = _function("barnraise_count_magnitudes", "pnnp")
    _count(lambda start, end, part: function(values, start, end, part), size, counts)


def count_within(values: int, size: int, upper: int, counts: NDArray[np.int64]) -> None:
    """Add how many of those that have this upper half have each lower half, to int64 [2^16]."""
    function = _function("barnraise_count_within", "pnnup")
    _count(lambda start, end, part: function(values, start, end, upper, part), size, counts)


def _count(work: Callable[[int, int, int], None], size: int, counts: NDArray[np.int64]) -> None:
    """Let every range add to a table of its own, or to the only one."""
    if size <= COUNT_GRAIN:
        work(0, size, counts.ctypes.data)
        return
    lock = threading.Lock()

    def apart(start: int, end: int) -> None:
        part = np.zeros_like(counts)
        work(start, end, part.ctypes.data)
        with lock:
            np.add(counts, part, out=counts)

    spread(apart, size, COUNT_GRAIN)


@cache
def _function(name: str, arguments: str) -> ctypes._NamedFuncPointer:
    """A loop with its arguments declared: ``p`` an address, ``n`` a number of 64 bits, ``u`` a word."""
    loaded = library()
    if loaded is None:
        raise RuntimeError("the compiled loops are not there; ask barnraise.native.available() first")
    types: dict[str, type[ctypes.c_void_p | ctypes.c_int64 | ctypes.c_uint32]]
    types = {"p": ctypes.c_void_p, "n": ctypes.c_int64, "u": ctypes.c_uint32}
    function = loaded[name]
    function.argtypes = [types[letter] for letter in arguments]
    function.restype = None
    return function
