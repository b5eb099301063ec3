"""What an offline merge reads from and writes to, and how stored bytes become float32.

A merge opens no file: whoever calls it hands in sources and a sink. float32 holds every
value of bfloat16 and float16 exactly, so inputs of different types meet there without loss;
the only rounding is the last one, to the type of the result. numpy knows no bfloat16, so here
are the conversions, compiled where they can be and with the same bits where not.

B  elements of a block
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from barnraise import native
from barnraise.native import dense

__all__ = ["ITEM_BYTES", "TensorSink", "TensorSource", "all_finite", "narrow", "stored_floats", "widen"]

ITEM_BYTES = {"F32": 4, "BF16": 2, "F16": 2}
"""What can be merged, by the names that safetensors gives, and the bytes of an element."""

NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


class TensorSource(Protocol):
    """The tensors of one model. Blocks of one tensor are asked for in order, by one thread at a time."""

    def dtype(self, name: str) -> str:
        """The stored type of a tensor, such as ``BF16``."""
        ...

    def block(self, name: str, start: int, end: int) -> NDArray[np.uint8]:
        """The bytes of elements ``[start, end)``, uint8; valid until they are released, and not to be changed."""
        ...

    def release(self, name: str, start: int, end: int) -> None:
        """The block will not be needed for a while."""
        ...


class TensorSink(Protocol):
    """Where the merged model goes."""

    def put(self, name: str, start: int, data: NDArray[np.uint8]) -> None:
        """The bytes of elements from ``start`` on. Blocks of one tensor come in order, several tensors at once."""
        ...


def stored_floats(
    source: TensorSource, name: str, start: int, end: int, room_B: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A block as float32 [B]: where it lies if it is stored so and aligned, else converted into ``room_B``."""
    data, dtype = source.block(name, start, end), source.dtype(name)
    if dtype != "F32":
        widen(data, dtype, room_B)
    elif data.view(np.float32).flags.aligned:
        return data.view(np.float32)
    else:
        room_B.view(np.uint8)[:] = data
    return room_B


def widen(data: NDArray[np.uint8], dtype: str, out_B: NDArray[np.float32]) -> None:
    """Stored bfloat16 or float16 [B] as float32, exactly."""
    stored_B = data.view(np.uint16)
    if not stored_B.flags.aligned:
        stored_B = stored_B.copy()
    if native.available():
        row = dense.Rows([stored_B.ctypes.data], [dense.KINDS[NAMES[dtype]]], len(stored_B))
        dense.weighted_sum(row, [1.0], out_B.ctypes.data)
    elif dtype == "BF16":
        out_B.view(np.uint32)[:] = stored_B.astype(np.uint32) << np.uint32(16)
    else:
        out_B[:] = stored_B.view(np.float16)


def narrow(values_B: NDArray[np.float32], dtype: str) -> NDArray[np.uint8]:
    """float32 [B] as the bytes of a stored type, rounded to nearest, ties to even; shares memory if it is float32.

    Too large a value becomes infinite. What is not a number does not become one.
    """
    if dtype == "F32":
        return values_B.view(np.uint8)
    if native.available():
        out_B = np.empty(len(values_B), dtype=np.uint16)
        dense.narrow(values_B.ctypes.data, dense.KINDS[NAMES[dtype]], len(values_B), out_B.ctypes.data)
        return out_B.view(np.uint8)
    if dtype == "BF16":
        bits_B = np.where(np.isnan(values_B), np.float32(np.inf), values_B).view(np.uint32)
        odd_B = (bits_B >> np.uint32(16)) & np.uint32(1)
        return ((bits_B + (odd_B + np.uint32(0x7FFF))) >> np.uint32(16)).astype(np.uint16).view(np.uint8)
    with np.errstate(over="ignore"):
        return values_B.astype(np.float16).view(np.uint8)


def all_finite(data: NDArray[np.uint8], dtype: str) -> bool:
    """Whether stored values hold no NaN and no infinity."""
    if dtype == "F32":
        return bool(np.isfinite(data.view(np.float32)).all())
    magnitudes_B = data.view(np.uint16) & np.uint16(0x7FFF)
    return int(magnitudes_B.max(initial=0)) < (0x7F80 if dtype == "BF16" else 0x7C00)
