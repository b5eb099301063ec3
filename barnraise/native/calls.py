"""How the loops of the codecs are called: declared arguments, and arrays that were checked.

``p`` is an address, ``n`` a number of 64 bits, ``i`` of 32 bits and ``d`` a float64.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
from numpy.typing import NDArray

from barnraise.native import library

__all__ = ["CHUNK", "at", "check", "check_chunks", "function"]

CHUNK = 4096

Result = type[ctypes.c_int] | type[ctypes.c_int64] | type[ctypes.c_double] | None

_KINDS: dict[str, type[ctypes.c_void_p] | type[ctypes.c_int64] | type[ctypes.c_int32] | type[ctypes.c_double]] = {
    "p": ctypes.c_void_p,
    "n": ctypes.c_int64,
    "i": ctypes.c_int32,
    "d": ctypes.c_double,
}


def check(array: NDArray[np.generic], dtype: type[np.generic], size: int) -> None:
    """Make sure that an address of the array means what a loop takes it for."""
    assert array.dtype == dtype, (array.dtype, dtype)
    assert array.shape == (size,), (array.shape, size)
    assert array.flags.c_contiguous


def check_chunks(starts_C: NDArray[np.int64], size: int | None) -> int:
    """Make sure that chunks lie as a loop takes them to lie in ``size`` elements, if not None; how many there are."""
    chunks = len(starts_C) - 1
    check(starts_C, np.int64, chunks + 1)
    assert chunks >= 1, chunks
    assert size is None or int(starts_C[-1]) == size, (int(starts_C[-1]), size)
    sizes = np.diff(starts_C)
    assert starts_C[0] == 0, starts_C[0]
    assert (sizes >= 1).all(), "a chunk is empty"
    assert (sizes <= CHUNK).all(), "a chunk is too long"
    return chunks


def at(array: NDArray[np.generic]) -> int:
    """Where the array lies."""
    return array.ctypes.data


def function(name: str, kinds: str, result: Result = ctypes.c_int) -> ctypes._NamedFuncPointer:
    """The loop ``barnraise_NAME`` with its arguments declared."""
    loaded = library()
    assert loaded is not None, "the compiled loops are switched off"
    return _prototype(loaded, name, kinds, result)


@cache
def _prototype(loaded: ctypes.CDLL, name: str, kinds: str, result: Result) -> ctypes._NamedFuncPointer:
    found = loaded[f"barnraise_{name}"]  # a new object, so that nobody else's types are changed
    found.argtypes = [_KINDS[kind] for kind in kinds.replace(" ", "")]
    found.restype = result
    return found
