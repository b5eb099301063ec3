"""Calls of the loops that compress tensors without loss, block by block.

Called only where :func:`available` is true; :mod:`barnraise.releases.lossless.blocks` is the plain
twin. Every size is checked here before an address is handed out; what the bytes of a block say is
checked by the loops.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from functools import cache

import numpy as np
from numpy.typing import NDArray

from barnraise.native import library

__all__ = ["BlockCoder", "WordLayout", "available"]

_BLOCK = 1 << 20
_NAMES = ("work", "room", "encode", "decode")

Bytes = NDArray[np.uint8]

_memory = threading.local()


class WordLayout(ctypes.Structure):
    """How words are read; the fields of ``Layout`` in src/lossless.c."""

    _fields_ = (
        ("width", ctypes.c_int32),
        ("shift", ctypes.c_int32),
        ("mask", ctypes.c_int32),
        ("is_float", ctypes.c_int32),
        ("tokens", ctypes.c_int32),
    )


def available() -> bool:
    """Whether there is a compiled library with these loops, on a machine whose words are the format's."""
    loaded = library()
    return sys.byteorder == "little" and loaded is not None and all(hasattr(loaded, _full(name)) for name in _NAMES)


class BlockCoder:
    """Encodes and decodes blocks on any thread, in memory that each thread has once and keeps."""

    def __init__(self, layout: WordLayout, logarithms: NDArray[np.uint32]) -> None:
        """Args:
        logarithms: uint32 [2049], of frequencies, with 16 fraction bits.
        """
        assert logarithms.shape == (2049,), logarithms.shape
        assert logarithms.dtype == np.uint32, logarithms.dtype
        assert layout.width in {1, 2, 4, 8}, layout.width
        self._layout = layout
        self._logarithms = logarithms

    def encode(self, data: Bytes, base: Bytes | None) -> bytes:
        """One block with its head."""
        self._check(data, base)
        room = _memory_of_thread("room")
        length = _function("encode", "ppnpppp", ctypes.c_int64)(
            _at(data), None if base is None else _at(base), len(data),
            ctypes.addressof(self._layout), _at(self._logarithms), _at(_memory_of_thread("work")), _at(room),
        )  # fmt: skip
        return room[:length].tobytes()

    def decode(self, kind: int, body: Bytes, base: Bytes | None, out: Bytes) -> bool:
        """Write one block to ``out``; False if the body is not one of so many bytes."""
        self._check(out, base)
        assert out.flags.writeable
        assert body.dtype == np.uint8, body.dtype
        status = _function("decode", "ipnpnppp", ctypes.c_int)(
            kind, _at(body), len(body), None if base is None else _at(base), len(out),
            ctypes.addressof(self._layout), _at(_memory_of_thread("work")), _at(out),
        )  # fmt: skip
        return bool(status == 0)

    def _check(self, block: Bytes, base: Bytes | None) -> None:
        assert 0 < len(block) <= _BLOCK, len(block)
        assert len(block) % self._layout.width == 0, len(block)
        for array in (block, *([] if base is None else [base])):
            assert array.dtype == np.uint8, array.dtype
            assert array.flags.c_contiguous
            assert len(array) == len(block), len(array)


def _at(array: Bytes | NDArray[np.uint32]) -> int:
    return array.ctypes.data


def _full(name: str) -> str:
    return f"barnraise_lossless_{name}"


def _memory_of_thread(name: str) -> Bytes:
    """About 6 MB that the loops write to, all zero at first; NumPy allocates at multiples of 16, as they need."""
    found: Bytes | None = getattr(_memory, name, None)
    if found is None:
        found = np.zeros(int(_function(name, "", ctypes.c_int64)()), dtype=np.uint8)
        setattr(_memory, name, found)
    return found


@cache
def _function(name: str, arguments: str, result: type[ctypes.c_int64 | ctypes.c_int]) -> ctypes._NamedFuncPointer:
    """A loop with its arguments declared: ``p`` an address, ``n`` a number of 64 bits, ``i`` one of 32."""
    loaded = library()
    if loaded is None:
        raise RuntimeError("the compiled loops are not there; ask available() first")
    types: dict[str, type[ctypes.c_void_p | ctypes.c_int64 | ctypes.c_int32]]
    types = {"p": ctypes.c_void_p, "n": ctypes.c_int64, "i": ctypes.c_int32}
    function = loaded[_full(name)]
    function.argtypes = [types[letter] for letter in arguments]
    function.restype = result
    return function
