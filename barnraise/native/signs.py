"""Calls of the loops for elements in 1 bit; merge/compress/blockwise.py and barnraise/updates/blockwise.py have the
plain twins.

C  chunks of the segment
P  elements of the segment
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from barnraise.native.calls import at, check, check_chunks, function

__all__ = ["quantise_signs", "restore_signs"]


def quantise_signs(
    values_P: NDArray[np.float32], starts_C: NDArray[np.int64], decoded_P: NDArray[np.float32]
) -> tuple[bytes, NDArray[np.float32]] | None:
    """Packed signs and scales float32 [C]; None if an element is not finite. What they decode to is written.

    On the calling thread: who has several segments shares these out.
    """
    size = len(values_P)
    chunks = check_chunks(starts_C, size)
    check(values_P, np.float32, size)
    check(decoded_P, np.float32, size)
    assert decoded_P.flags.writeable
    packed, scales_C = np.zeros(-(-size // 8), dtype=np.uint8), np.empty(chunks, dtype=np.float32)
    finite = function("quantise_signs", "ppnppp")(
        at(values_P), at(starts_C), chunks, at(packed), at(scales_C), at(decoded_P)
    )
    return (packed.tobytes(), scales_C) if finite else None


def restore_signs(
    packed: bytes, starts_C: NDArray[np.int64], scales_C: NDArray[np.float32]
) -> tuple[int, NDArray[np.float32]]:
    """Values float32 [P] of packed signs; a status other than 0 says which rule they break."""
    size = int(starts_C[-1])
    chunks = check_chunks(starts_C, size)
    check(scales_C, np.float32, chunks)
    assert len(packed) == -(-size // 8), len(packed)
    values_P = np.empty(size, dtype=np.float32)
    status: int = function("restore_signs", "ppnpp", ctypes.c_int)(
        packed, at(starts_C), chunks, at(scales_C), at(values_P)
    )
    return status, values_P
