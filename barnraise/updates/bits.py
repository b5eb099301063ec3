"""Fields of a few bits, packed tightly: the lowest bit of a byte comes first.

The bits that a last byte has left over are zero, so a packed array has one encoding.

N  fields
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import NonCanonicalUpdateError, TruncatedUpdateError

__all__ = ["check_spare_bits", "pack_fields", "packed_size", "unpack_bits", "unpack_fields"]


def packed_size(count: int, width: int) -> int:
    """Bytes that ``count`` fields of ``width`` bits take."""
    return -(-count * width // 8)


def pack_fields(fields_N: NDArray[np.unsignedinteger], width: int) -> bytes:
    """Pack unsigned integers below ``2 ** width``."""
    bits_NW = np.empty((len(fields_N), width), dtype=np.uint8)
    one = fields_N.dtype.type(1)
    for bit in range(width):
        bits_NW[:, bit] = (fields_N >> fields_N.dtype.type(bit)) & one
    return np.packbits(bits_NW, bitorder="little").tobytes()


def unpack_fields(
    packed: bytes, count: int, width: int, dtype: type[np.unsignedinteger]
) -> NDArray[np.unsignedinteger]:
    """Inverse of :func:`pack_fields`; allocates about ``9 * count`` bytes times ``width / 8``.

    Raises:
        TruncatedUpdateError, NonCanonicalUpdateError: not exactly the bytes that were expected.
    """
    bits = unpack_bits(packed, count * width)
    fields_N = np.zeros(count, dtype=dtype)
    for bit in range(width):
        fields_N |= bits[bit::width].astype(dtype) << dtype(bit)
    return fields_N


def unpack_bits(packed: bytes, count: int) -> NDArray[np.uint8]:
    """The first ``count`` bits, as zeros and ones.

    Raises:
        TruncatedUpdateError: fewer bytes than ``count`` bits take.
        NonCanonicalUpdateError: more bytes, or left-over bits that are not zero.
    """
    expected = packed_size(count, 1)
    if len(packed) < expected:
        raise TruncatedUpdateError(f"{len(packed)} bytes of packed bits, expected {expected}. Send the update again.")
    if len(packed) > expected:
        raise NonCanonicalUpdateError(f"{len(packed)} bytes of packed bits, expected {expected}. Encode it again.")
    check_spare_bits(packed, count)
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count, bitorder="little")


def check_spare_bits(packed: bytes, count: int) -> None:
    """Refuse an array of the right length whose last byte has anything behind the first ``count`` bits.

    Raises:
        NonCanonicalUpdateError
    """
    if count % 8 and packed[-1] >> (count % 8):
        raise NonCanonicalUpdateError("left-over bits of a packed array are not zero. Encode the update again.")
