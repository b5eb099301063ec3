"""Calls of the loops for elements in 8, 4, 2 bits or 1; merge/compress/blockwise.py and barnraise/updates/blockwise.py
have the plain twins.

C  chunks of the segment
P  elements of the segment
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from barnraise.native.calls import at, check, check_chunks, function

__all__ = ["quantise", "restore"]


def quantise(
    values_P: NDArray[np.float32],
    starts_C: NDArray[np.int64],
    bits: int,
    shares: Sequence[float],
    decoded_P: NDArray[np.float32],
) -> tuple[bytes, NDArray[np.float32]] | None:
    """Packed codes and scales float32 [C]; None if an element is not finite. What they decode to is written.

    On the calling thread: who has several segments shares these out.

    Args:
        shares: of a chunk's largest magnitude, which are tried for its scale in this order; 1 bit looks at none.
        decoded_P: what is written to.
    """
    assert bits in (8, 4, 2, 1), bits
    size = len(values_P)
    chunks = check_chunks(starts_C, size)
    check(values_P, np.float32, size)
    check(decoded_P, np.float32, size)
    assert decoded_P.flags.writeable
    scales_C = np.empty(chunks, dtype=np.float32)
    packed = np.zeros(-(-size * bits // 8), dtype=np.uint8)
    if bits == 1:
        finite = function("quantise_signs", "ppnppp")(
            at(values_P), at(starts_C), chunks, at(packed), at(scales_C), at(decoded_P)
        )
        return (packed.tobytes(), scales_C) if finite else None
    codes = packed if bits == 8 else np.empty(len(packed) * 8 // bits, dtype=np.uint8)
    codes[size:] = 0
    wanted = np.array(shares, dtype=np.float32)
    finite = function("quantise", "ppnipnppp")(
        at(values_P), at(starts_C), chunks, bits, at(wanted), len(wanted), at(codes), at(scales_C), at(decoded_P)
    )
    if not finite:
        return None
    if bits != 8:
        function("pack_codes", "pnip", None)(at(codes), len(packed), bits, at(packed))
    return packed.tobytes(), scales_C


def restore(
    packed: bytes, starts_C: NDArray[np.int64], bits: int, scales_C: NDArray[np.float32]
) -> tuple[int, NDArray[np.float32]]:
    """Values float32 [P] of packed codes; a status other than 0 says which rule they break."""
    assert bits in (8, 4, 2, 1), bits
    size = int(starts_C[-1])
    chunks = check_chunks(starts_C, size)
    check(scales_C, np.float32, chunks)
    assert len(packed) == -(-size * bits // 8), len(packed)
    values_P = np.empty(size, dtype=np.float32)
    if bits == 1:
        status = function("restore_signs", "ppnpp")(packed, at(starts_C), chunks, at(scales_C), at(values_P))
    else:
        status = function("restore", "ppnipp")(packed, at(starts_C), chunks, bits, at(scales_C), at(values_P))
    return status, values_P
