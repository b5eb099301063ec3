"""The ``blockwise`` codec: every element in 8, 4, 2 bits or 1, with one float32 scale a chunk.

Mid-rise: with b bits an element is ``level * scale`` where level is odd, from ``1 - 2 ** b``
to ``2 ** b - 1``, and is stored as ``(level + 2 ** b - 1) / 2``. No level is zero, so all
codes are of use, which matters most at few bits: 1 bit is a sign. A chunk of zeros has the scale 0.

A scale has 16 significant bits at most, so ``level * scale`` is exact: there is nothing to
round, and every machine decodes alike. A scale is the greatest common divisor of its chunk
(its levels have none but 1), so there is one encoding of given content.

C  chunks of the segment
P  elements of the segment
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import IndexOutOfRangeError, NonCanonicalUpdateError, NonFiniteUpdateError, UpdateError
from barnraise.native import blockwise as loops
from barnraise.native import codec as native
from barnraise.updates.bits import check_spare_bits, pack_fields, packed_size, unpack_fields
from barnraise.updates.codec import EncodedSegment, check_length

__all__ = ["decode", "encode"]

_REFUSED: tuple[tuple[type[UpdateError], str], ...] = (
    (NonCanonicalUpdateError, "the levels of a chunk have a common divisor; it belongs into the scale"),
    (NonCanonicalUpdateError, "a chunk of scale 0 has levels other than 1. Encode the update again."),
    (NonFiniteUpdateError, "a level times its scale is beyond float32. Compress the change again."),
)  # statuses 1, 2 and 3 of src/blockwise.c
_SMALLEST_SCALE = np.float32(2.0**-126)
_BEYOND_PRECISION = np.uint32(0xFF)  # fraction bits that a scale must not use


def encode(
    levels_P: NDArray[np.int16], scales_C: NDArray[np.float32], chunk_starts: NDArray[np.int64], bits: int
) -> EncodedSegment:
    """Pack odd levels, after moving the common divisor of each chunk's levels into its scale.

    Args:
        levels_P: int16 [P], odd, magnitude below ``2 ** bits``; 1 where the scale is 0.
        scales_C: float32 [C], 0 or normal, with 8 significant bits at most.
    """
    divisors_C = _common_divisors(levels_P, chunk_starts)
    levels_P = levels_P // np.repeat(divisors_C, np.diff(chunk_starts))
    codes_P = ((levels_P + ((1 << bits) - 1)) >> 1).astype(np.uint8)
    scales_C = scales_C * divisors_C.astype(np.float32)
    return EncodedSegment(b"", pack_fields(codes_P, bits), scales_C.astype("<f4").tobytes())


def decode(segment: EncodedSegment, chunk_starts: NDArray[np.int64], bits: int) -> NDArray[np.float32]:
    """float32 [P].

    Raises:
        TruncatedUpdateError, IndexOutOfRangeError, NonCanonicalUpdateError, NonFiniteUpdateError
    """
    size = int(chunk_starts[-1])
    check_length("support", segment.support, 0)
    check_length("scales", segment.scales, 4 * (len(chunk_starts) - 1))
    check_length("levels", segment.levels, packed_size(size, bits))
    scales_C = np.frombuffer(segment.scales, dtype="<f4").astype(np.float32)
    _check_scales(scales_C)
    check_spare_bits(segment.levels, size * bits)
    restore = loops.restore if native.available() else _restore_plain
    status, values_P = restore(segment.levels, chunk_starts, bits, scales_C)
    if status:
        refusal, message = _REFUSED[status - 1]
        raise refusal(message)
    return values_P


def _restore_plain(
    packed: bytes, chunk_starts: NDArray[np.int64], bits: int, scales_C: NDArray[np.float32]
) -> tuple[int, NDArray[np.float32]]:
    """As :func:`barnraise.native.blockwise.restore`."""
    codes_P = unpack_fields(packed, int(chunk_starts[-1]), bits, np.uint8)
    levels_P = 2 * codes_P.astype(np.int16) - np.int16((1 << bits) - 1)
    scales_P = np.repeat(scales_C, np.diff(chunk_starts))
    with np.errstate(over="ignore"):
        values_P = levels_P.astype(np.float32) * scales_P
    broken = (
        (_common_divisors(levels_P, chunk_starts) != 1).any(),
        ((scales_P == 0) & (levels_P != 1)).any(),
        not np.isfinite(values_P).all(),
    )
    return (broken.index(True) + 1 if any(broken) else 0), values_P


def _check_scales(scales_C: NDArray[np.float32]) -> None:
    if not np.isfinite(scales_C).all():
        raise NonFiniteUpdateError("a scale is NaN or infinite. Compress the change again.")
    if np.signbit(scales_C).any():
        raise NonCanonicalUpdateError("a scale is negative; signs belong to the levels")
    if ((scales_C > 0) & (scales_C < _SMALLEST_SCALE)).any():
        raise IndexOutOfRangeError("a scale is subnormal; so small a chunk must be written with scale 0")
    if (scales_C.view(np.uint32) & _BEYOND_PRECISION).any():
        raise NonCanonicalUpdateError("a scale has more than 16 significant bits. Encode the update again.")


def _common_divisors(levels_P: NDArray[np.int16], chunk_starts: NDArray[np.int64]) -> NDArray[np.int16]:
    """int16 [C]: what divides all levels of a chunk. Looks closely only where no level is 1 or -1."""
    sizes_P = np.abs(levels_P)
    divisors_C = np.minimum.reduceat(sizes_P, chunk_starts[:-1])
    for chunk in np.flatnonzero(divisors_C > 1):
        divisors_C[chunk] = np.gcd.reduce(sizes_P[chunk_starts[chunk] : chunk_starts[chunk + 1]])
    return divisors_C
