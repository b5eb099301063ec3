"""How the loops of the codecs are called: declared arguments, and arrays that were checked.

``p`` is an address, ``n`` a number of 64 bits, ``i`` of 32 bits and ``d`` a float64.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
from numpy.typing import NDArray

from barnraise.native import library

__all__ = ["at", "check", "function"]

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
