"""A diagonal Fisher beside an update: how sure it is of each element that it names, in four bits.

    one exponent i8 a chunk | one code of 4 bits an element named

All values are powers of two, so nothing is rounded when something is multiplied by them. A
chunk's exponent is that of its largest value; an element's code says how many octaves below it
lies, and 15 stands for that or less. A chunk with the exponent -128 has a Fisher of 0, its
elements have no codes; and so has whatever the update does not name. With the rules below
exactly one encoding gives some content: some element of every other chunk has code 0, and a
segment of which no chunk has a Fisher is empty.

N  elements of the segment that the update names
M  those of them in chunks with a Fisher
C  chunks of the segment
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import IndexOutOfRangeError, NonCanonicalUpdateError, TruncatedUpdateError
from barnraise.updates.bits import pack_fields, unpack_fields

__all__ = ["FISHER_BITS", "HIGHEST", "LOWEST", "NO_FISHER", "WEAKEST", "FisherCodes", "decode", "encode"]

FISHER_BITS = 4
WEAKEST = (1 << FISHER_BITS) - 1
NO_FISHER = -128
HIGHEST = 63  # so that a Fisher times a change stays finite, and so does a sum of them
LOWEST = -126 + WEAKEST  # so that every code gives a normal float32


@dataclass(frozen=True)
class FisherCodes:
    """The content of a segment's Fisher before packing.

    Attributes:
        exponents_C: int8, of each chunk's largest value, or ``NO_FISHER``.
        octaves_M: uint8, how far below it an element lies, at most ``WEAKEST``.
    """

    exponents_C: NDArray[np.int8]
    octaves_M: NDArray[np.uint8]


def encode(codes: FisherCodes) -> bytes:
    """Pack codes that keep the rules of this module."""
    if (codes.exponents_C == NO_FISHER).all():
        return b""
    return codes.exponents_C.tobytes() + pack_fields(codes.octaves_M, FISHER_BITS)


def decode(packed: bytes, counts_C: NDArray[np.int64]) -> NDArray[np.float32]:
    """The Fisher of every element that the update names, float32 [N], 0 or a power of two.

    Args:
        packed: bytes that nobody has checked yet.
        counts_C: int64, elements that the update names in each chunk; their sum is N.

    Raises:
        TruncatedUpdateError, IndexOutOfRangeError, NonCanonicalUpdateError
    """
    fisher_N = np.zeros(int(counts_C.sum()), dtype=np.float32)
    if not packed:
        return fisher_N
    codes = _unpack(packed, counts_C)
    _check(codes, counts_C)
    exponents_N = np.repeat(codes.exponents_C.astype(np.int32), counts_C)
    some_N = exponents_N != NO_FISHER
    fisher_N[some_N] = ((exponents_N[some_N] - codes.octaves_M + 127) << 23).view(np.float32)
    return fisher_N


def _unpack(packed: bytes, counts_C: NDArray[np.int64]) -> FisherCodes:
    if len(packed) < len(counts_C):
        raise TruncatedUpdateError(
            f"{len(packed)} bytes of Fisher, its chunks alone need {len(counts_C)}. Send the update again."
        )
    exponents_C = np.frombuffer(packed, dtype=np.int8, count=len(counts_C))
    coded = int(counts_C[exponents_C != NO_FISHER].sum())
    return FisherCodes(exponents_C, unpack_fields(packed[len(counts_C) :], coded, FISHER_BITS, np.uint8).view(np.uint8))


def _check(codes: FisherCodes, counts_C: NDArray[np.int64]) -> None:
    some_C = codes.exponents_C != NO_FISHER
    if not some_C.any():
        raise NonCanonicalUpdateError("no chunk has a Fisher; the segment must be written as empty")
    if (counts_C[some_C] == 0).any():
        raise NonCanonicalUpdateError("a chunk of which nothing is named has a Fisher. Encode the update again.")
    first_C = np.cumsum(counts_C[some_C]) - counts_C[some_C]
    if np.minimum.reduceat(codes.octaves_M, first_C).any():
        raise NonCanonicalUpdateError("a chunk has no element of Fisher code 0, which its largest must have")
    lowest, highest = int(codes.exponents_C[some_C].min()), int(codes.exponents_C[some_C].max())
    if lowest < LOWEST or highest > HIGHEST:
        raise IndexOutOfRangeError(
            f"the largest Fishers of chunks range from 2**{lowest} to 2**{highest}, "
            f"expected are 2**{LOWEST} to 2**{HIGHEST}. Encode the update again."
        )
