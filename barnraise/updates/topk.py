"""The ``topk`` codec: the few largest elements of every chunk, each as a sign and one of two levels.

    support   sorted positions of all chunks of the segment, entropy coded (golomb.py)
    levels    2 bits an entry: bit 0 negative, bit 1 high
    scales    unit i16 | ratio u8 | one code u8 a chunk

A low entry of a chunk has the magnitude ``2 ** ((unit - code) / 8)``; a high one is larger
by ``2 ** ((2 * ratio + 1) / 16)``. Lows lie on even sixteenths of an octave and highs on odd
ones, so a magnitude says by itself what it is. With the rules below, exactly one encoding
gives some content: the strongest chunk has code 0; a chunk without entries has code 255; any
other has at least one low entry; a ratio that no entry uses is 0; a segment without entries
is empty. Everything is put together from bits, so the values are the same on every machine.

N  entries of the segment
C  chunks of the segment
P  elements of the segment
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import IndexOutOfRangeError, NonCanonicalUpdateError
from barnraise.updates.bits import pack_fields, unpack_fields
from barnraise.updates.codec import EncodedSegment, check_length, kept_per_chunk
from barnraise.updates.golomb import decode_positions, encode_positions
from barnraise.updates.grid import LARGEST, SMALLEST, magnitude_bits

__all__ = ["NO_ENTRIES", "Entries", "decode", "encode"]

NO_ENTRIES = 255
_HEAD = struct.Struct("<hB")


@dataclass(frozen=True)
class Entries:
    """The content of a segment before packing.

    Attributes:
        positions_N: int64, strictly increasing, in [0, P).
        negative_N, high_N: bool.
        codes_C: uint8, eighths of an octave below ``unit``, or ``NO_ENTRIES``.
        unit: eighths of an octave, of the low entries of the strongest chunk.
        ratio: a high entry is ``2 * ratio + 1`` sixteenths of an octave above a low one.
    """

    positions_N: NDArray[np.int64]
    negative_N: NDArray[np.bool_]
    high_N: NDArray[np.bool_]
    codes_C: NDArray[np.uint8]
    unit: int
    ratio: int

    def values(self, chunk_starts: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N]; all numbers must lie on the grid."""
        chunks_N = np.repeat(np.arange(len(self.codes_C)), _counts(self.positions_N, chunk_starts))
        bits = magnitude_bits(self._numbers(self.codes_C[chunks_N]))
        return (bits | (self.negative_N.astype(np.uint32) << np.uint32(31))).view(np.float32)

    def _numbers(self, codes_N: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Grid numbers of the entries' magnitudes, int64 [N]."""
        lows_N = 2 * (self.unit - codes_N.astype(np.int64))
        numbers_N: NDArray[np.int64] = lows_N + np.where(self.high_N, 2 * self.ratio + 1, 0)
        return numbers_N


def encode(entries: Entries) -> EncodedSegment:
    """Pack entries that keep the rules of this module."""
    if len(entries.positions_N) == 0:
        return EncodedSegment(b"", b"", b"")
    levels_N = entries.negative_N.astype(np.uint8) | (entries.high_N.astype(np.uint8) << np.uint8(1))
    return EncodedSegment(
        support=encode_positions(entries.positions_N),
        levels=pack_fields(levels_N, 2),
        scales=_HEAD.pack(entries.unit, entries.ratio) + entries.codes_C.tobytes(),
    )


def decode(
    segment: EncodedSegment, chunk_starts: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Positions int64 [N] and values float32 [N], normal and not zero.

    Raises:
        TruncatedUpdateError, IndexOutOfRangeError, NonCanonicalUpdateError
    """
    kept_C = kept_per_chunk(chunk_starts, k)
    positions_N = decode_positions(segment.support, int(chunk_starts[-1]), int(kept_C.sum()))
    if len(positions_N) == 0:
        check_length("levels", segment.levels, 0)
        check_length("scales", segment.scales, 0)
        return positions_N, np.zeros(0, dtype=np.float32)
    check_length("scales", segment.scales, _HEAD.size + len(kept_C))
    levels_N = unpack_fields(segment.levels, len(positions_N), 2, np.uint8)
    unit, ratio = _HEAD.unpack_from(segment.scales)
    entries = Entries(
        positions_N=positions_N,
        negative_N=(levels_N & 1).astype(np.bool_),
        high_N=levels_N > 1,
        codes_C=np.frombuffer(segment.scales, dtype=np.uint8, offset=_HEAD.size),
        unit=unit,
        ratio=ratio,
    )
    _check(entries, chunk_starts, kept_C)
    return positions_N, entries.values(chunk_starts)


def _check(entries: Entries, chunk_starts: NDArray[np.int64], kept_C: NDArray[np.int64]) -> None:
    counts_C = _counts(entries.positions_N, chunk_starts)
    lows_C = _counts(entries.positions_N[~entries.high_N], chunk_starts)
    codes_C = entries.codes_C
    if (counts_C > kept_C).any():
        worst = int(np.argmax(counts_C - kept_C))
        raise IndexOutOfRangeError(f"chunk {worst} has {counts_C[worst]} entries, expected at most {kept_C[worst]}")
    if ((counts_C == 0) != (codes_C == NO_ENTRIES)).any():
        raise NonCanonicalUpdateError(f"scale code {NO_ENTRIES} must mark exactly the chunks without entries")
    if codes_C.min() != 0:
        raise NonCanonicalUpdateError(f"the strongest chunk has scale code {codes_C.min()}, expected 0")
    if ((counts_C > 0) & (lows_C == 0)).any():
        raise NonCanonicalUpdateError("a chunk has high entries only; they must be written as low ones")
    if entries.ratio and not entries.high_N.any():
        raise NonCanonicalUpdateError(f"the ratio is {entries.ratio}, expected 0 where no entry is high")
    numbers = entries._numbers(np.repeat(codes_C, counts_C))
    if numbers.min() < SMALLEST or numbers.max() > LARGEST:
        raise IndexOutOfRangeError("a magnitude is beyond the range of normal float32. Compress the change again.")


def _counts(positions_N: NDArray[np.int64], chunk_starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Entries in each chunk, int64 [C]."""
    return np.diff(np.searchsorted(positions_N, chunk_starts))
