"""A diagonal Fisher beside an update: how sure it is of each element that it names, in four bits.

    unit i16 | one code u8 a chunk | one code of 4 bits an element named

Codes count half octaves. A chunk's largest value is ``2 ** ((unit - code) / 2)``, and an
element's is its chunk's, lowered by the element's own code; 15 stands for that or less. So the
values of a chunk span 7.5 octaves, and each is within a quarter of an octave of what was meant.
What an update does not name has a Fisher of 0, and so has a chunk with code 255: its elements
have no codes. With the rules below exactly one encoding gives some content: the strongest chunk
has code 0; so has some element of every chunk that is not 255; a segment without any Fisher
is empty. Values come from the grid, so they are the same on every machine.

N  elements of the segment that the update names
M  those of them in chunks with a Fisher
C  chunks of the segment
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import IndexOutOfRangeError, NonCanonicalUpdateError, TruncatedUpdateError
from barnraise.updates.bits import pack_fields, unpack_fields
from barnraise.updates.grid import LARGEST, SMALLEST, magnitudes

__all__ = ["FISHER_BITS", "HIGHEST", "LOWEST", "NO_FISHER", "WEAKEST", "FisherCodes", "decode", "encode"]

FISHER_BITS = 4
WEAKEST = (1 << FISHER_BITS) - 1
NO_FISHER = 255
# Half octaves of a chunk's largest value, so that every code gives a normal float32.
LOWEST = -(-SMALLEST // 8) + WEAKEST
HIGHEST = LARGEST // 8
_HEAD = struct.Struct("<h")


@dataclass(frozen=True)
class FisherCodes:
    """The content of a segment's Fisher before packing.

    Attributes:
        unit: half octaves, of the strongest chunk.
        chunks_C: uint8, half octaves below ``unit``, or ``NO_FISHER``.
        elements_M: uint8, half octaves below the chunk's largest, at most ``WEAKEST``.
    """

    unit: int
    chunks_C: NDArray[np.uint8]
    elements_M: NDArray[np.uint8]


def encode(codes: FisherCodes) -> bytes:
    """Pack codes that keep the rules of this module."""
    if (codes.chunks_C == NO_FISHER).all():
        return b""
    return _HEAD.pack(codes.unit) + codes.chunks_C.tobytes() + pack_fields(codes.elements_M, FISHER_BITS)


def decode(packed: bytes, counts_C: NDArray[np.int64]) -> NDArray[np.float32]:
    """The Fisher of every element that the update names, float32 [N], 0 or normal and positive.

    Args:
        packed: bytes that nobody has checked yet.
        counts_C: int64, elements that the update names in each chunk; their sum is N.

    Raises:
        TruncatedUpdateError, IndexOutOfRangeError, NonCanonicalUpdateError
    """
    if not packed:
        return np.zeros(int(counts_C.sum()), dtype=np.float32)
    codes = _unpack(packed, counts_C)
    _check(codes, counts_C)
    numbers_C = codes.unit - codes.chunks_C.astype(np.int64)
    some_N = np.repeat(codes.chunks_C != NO_FISHER, counts_C)
    fisher_N = np.zeros(len(some_N), dtype=np.float32)
    fisher_N[some_N] = magnitudes(8 * (np.repeat(numbers_C, counts_C)[some_N] - codes.elements_M))
    return fisher_N


def _unpack(packed: bytes, counts_C: NDArray[np.int64]) -> FisherCodes:
    begin = _HEAD.size + len(counts_C)
    if len(packed) < begin:
        raise TruncatedUpdateError(
            f"{len(packed)} bytes of Fisher, its chunks alone need {begin}. Send the update again."
        )
    chunks_C = np.frombuffer(packed, dtype=np.uint8, count=len(counts_C), offset=_HEAD.size)
    coded = int(counts_C[chunks_C != NO_FISHER].sum())
    elements_M = unpack_fields(packed[begin:], coded, FISHER_BITS, np.uint8).astype(np.uint8, copy=False)
    return FisherCodes(_HEAD.unpack_from(packed)[0], chunks_C, elements_M)


def _check(codes: FisherCodes, counts_C: NDArray[np.int64]) -> None:
    some_C = codes.chunks_C != NO_FISHER
    if codes.chunks_C.min() != 0:
        raise NonCanonicalUpdateError(f"the strongest chunk has Fisher code {codes.chunks_C.min()}, expected 0")
    if (counts_C[some_C] == 0).any():
        raise NonCanonicalUpdateError(f"Fisher code {NO_FISHER} must mark the chunks of which nothing is named")
    starts_C = np.cumsum(counts_C[some_C]) - counts_C[some_C]
    if np.minimum.reduceat(codes.elements_M, starts_C).any():
        raise NonCanonicalUpdateError("a chunk has no element of Fisher code 0, which its largest must have")
    weakest = codes.unit - int(codes.chunks_C[some_C].max())
    if codes.unit > HIGHEST or weakest < LOWEST:
        raise IndexOutOfRangeError(
            f"Fishers from 2**{weakest / 2} to 2**{codes.unit / 2} are beyond the range of normal float32. "
            "Encode the update again."
        )
