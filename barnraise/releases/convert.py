"""From float32 to the smaller floating point types and back, with numpy alone.

Every value goes to the nearest that the type has, ties to the even one; infinities stay what
they are, NaN stays NaN. bfloat16 is the upper half of a float32, and numpy has no type for it:
it is kept as uint16 here.

N  elements

Source: IEEE 754-2019, section 4.3.1; https://en.wikipedia.org/wiki/Bfloat16_floating-point_format
"""

from __future__ import annotations

import sys
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.dtypes import FLOATS
from barnraise.native import available, dense, spread

__all__ = ["NAMES", "Stored", "convert", "narrow", "widen"]

Stored = Literal["F32", "BF16", "F16"]
NAMES: dict[str, Stored] = {"f32": "F32", "bf16": "BF16", "f16": "F16"}
"""What a person calls a type -> what safetensors calls it."""

BLOCK = 1 << 17  # elements that stay in a processor's cache on their way through the steps below
_RAW: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "BF16": np.dtype("<u2"), "F16": np.dtype("<f2")}


def convert(data: NDArray[np.uint8], dtype: str, wanted: str) -> NDArray[np.uint8]:
    """The little-endian bytes of a tensor in another floating point type; ``data`` itself where the types agree.

    Raises:
        OverflowError: a finite value is beyond what the type can say.
    """
    assert dtype == wanted or {dtype, wanted} <= set(FLOATS), (dtype, wanted)
    return data if dtype == wanted else narrow(widen(data, cast(Stored, dtype)), cast(Stored, wanted))


def narrow(values_N: NDArray[np.float32], dtype: Stored) -> NDArray[np.uint8]:
    """The little-endian bytes of values in another type, on several threads.

    Args:
        values_N: float32 [N].

    Returns:
        uint8; for ``F32`` a view, else a new array.

    Raises:
        OverflowError: a finite value is beyond what the type can say.
    """
    if dtype == "F32":
        return values_N.astype("<f4", copy=False).view(np.uint8)
    out_N: NDArray[Any] = np.empty(len(values_N), dtype=_RAW[dtype])
    step = _to_bfloat16 if dtype == "BF16" else _to_float16

    def work(start: int, end: int) -> None:
        for at in range(start, end, BLOCK):
            block = slice(at, min(at + BLOCK, end))
            step(values_N[block], out_N[block])

    spread(work, len(values_N), BLOCK)
    raw_N: NDArray[np.uint8] = out_N.view(np.uint8)
    return raw_N


def widen(data: NDArray[np.uint8], dtype: Stored) -> NDArray[np.float32]:
    """float32 [N] from the bytes of a type; exact. A view for ``F32``, else a new array."""
    raw_N: NDArray[Any] = data.view(_RAW[dtype])
    if dtype == "BF16":
        return (raw_N.astype(np.uint32) << np.uint32(16)).view(np.float32)
    values_N: NDArray[np.float32] = raw_N.astype(np.float32, copy=False)
    return values_N


def _to_bfloat16(values_N: NDArray[np.float32], out_N: NDArray[np.uint16]) -> None:
    """Adding just under half of the last place that stays, plus that place's own bit, rounds ties to even.

    The compiled loop does the same, but for what is not a number or too large.
    """
    if available() and values_N.flags.c_contiguous and values_N.flags.aligned and sys.byteorder == "little":
        dense.narrow(values_N.ctypes.data, dense.KINDS["bfloat16"], len(values_N), out_N.ctypes.data)
        if (out_N & np.uint16(0x7FFF)).max(initial=0) < 0x7F80:
            return
    bits_N = values_N.view(np.uint32)
    rounded_N = bits_N >> np.uint32(16)
    rounded_N &= np.uint32(1)
    rounded_N += np.uint32(0x7FFF)
    rounded_N += bits_N
    rounded_N >>= np.uint32(16)
    np.copyto(out_N, rounded_N, casting="unsafe")
    _refuse_overflow(values_N, (out_N & np.uint16(0x7FFF)) == 0x7F80, "bf16 ends at 3.39e38")
    nan_N = np.isnan(values_N)
    if nan_N.any():  # the sum above may have carried into the exponent or beyond
        out_N[nan_N] = (bits_N[nan_N] >> np.uint32(16)).astype(np.uint16) | np.uint16(0x0040)


def _to_float16(values_N: NDArray[np.float32], out_N: NDArray[np.float16]) -> None:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        np.copyto(out_N, values_N, casting="unsafe")
    _refuse_overflow(values_N, np.isinf(out_N), "f16 ends at 65504; bf16 has the range of float32")


def _refuse_overflow(values_N: NDArray[np.float32], infinite_N: NDArray[np.bool_], limit: str) -> None:
    if infinite_N.any() and (overflown_N := infinite_N & np.isfinite(values_N)).any():
        largest = float(np.abs(values_N[overflown_N]).max())
        raise OverflowError(f"{largest:.4g} is too large: {limit}")
