"""The ``topk`` codec: the few largest elements of every chunk, each as a sign and one of at most two levels.

    support   which elements, and the scale of every chunk, as one stream (support.py)
    levels    one bit an entry: 1 for a negative one
    scales    unit i16 | step u8

An entry has the magnitude ``2 ** (eighth / 8)`` where ``eighth`` is its chunk's scale, ``unit``
being that of the first chunk that has entries. If ``step`` is not 0 there is a second level, and
a high entry is larger by ``2 ** ((2 * step - 1) / 16)``. Lows lie on even sixteenths of an octave
and highs on odd ones, so a magnitude says by itself what it is. With the rules below, exactly
one encoding gives some content: a chunk that has entries has at least one low one; a step that
no entry uses is 0; a segment without entries is empty. Everything is put together from bits, so
the values are the same on every machine.

N  entries of the segment
C  chunks of the segment
P  elements of the segment
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import IndexOutOfRangeError, NonCanonicalUpdateError, TruncatedUpdateError, UpdateError
from barnraise.native import codec as native
from barnraise.updates.bits import pack_fields, packed_size, unpack_bits
from barnraise.updates.codec import EncodedSegment, check_length
from barnraise.updates.draw_tables import compiled_tables
from barnraise.updates.grid import LARGEST, SMALLEST, magnitude_bits
from barnraise.updates.support import Support, read_plain, write_plain

__all__ = ["HEAD", "LARGEST_STEP", "Entries", "decode", "encode"]

HEAD = struct.Struct("<hB")
LARGEST_STEP = 255
_REFUSED: tuple[tuple[type[UpdateError], str], ...] = (
    (TruncatedUpdateError, "the support ends in the middle of a segment. Send the update again."),
    (NonCanonicalUpdateError, "the support is not the whole encoding of its entries. Encode the update again."),
    (IndexOutOfRangeError, "the support says more than a chunk can have. Compress the change again."),
    (NonCanonicalUpdateError, "a chunk's pieces are not those that cost least. Encode the update again."),
)  # statuses 1, 2, 3 and 4 of src/entropy.c


@dataclass(frozen=True)
class Entries:
    """The content of a segment before packing.

    Attributes:
        support: which elements, their chunks' scales, and which entries are high.
        negative_N: bool.
        step: a high entry is ``2 * step - 1`` sixteenths of an octave above a low one; 0 if none is high.
    """

    support: Support
    negative_N: NDArray[np.bool_]
    step: int

    def positions(self, chunk_starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [N], strictly increasing."""
        counts_C = self.support.counts_C.astype(np.int64)
        return np.repeat(chunk_starts[:-1], counts_C) + self.support.places_N.astype(np.int64)

    def values(self) -> NDArray[np.float32]:
        """float32 [N]; all numbers must lie on the grid."""
        bits_N = magnitude_bits(self.numbers())
        return (bits_N | (self.negative_N.astype(np.uint32) << np.uint32(31))).view(np.float32)

    def numbers(self) -> NDArray[np.int64]:
        """Grid numbers of the magnitudes, int64 [N]."""
        numbers_N = np.repeat(2 * self.support.eighths_C.astype(np.int64), self.support.counts_C.astype(np.int64))
        if self.support.high_N is not None:
            numbers_N += self.support.high_N * np.int64(2 * self.step - 1)
        return numbers_N


def encode(entries: Entries, chunk_starts: NDArray[np.int64], k: int) -> EncodedSegment:
    """Pack entries that keep the rules of this module."""
    said = entries.support
    if len(said.places_N) == 0:
        return EncodedSegment(b"", b"", b"")
    assert (said.high_N is not None) == (entries.step > 0), entries.step
    if native.available():
        fields = (said.counts_C, said.eighths_C, said.places_N, said.high_N)
        stream = native.write_support(compiled_tables(), chunk_starts, k, fields)
    else:
        stream = write_plain(said, chunk_starts, k)
    unit = int(said.eighths_C[np.flatnonzero(said.counts_C)[0]])
    return EncodedSegment(
        support=stream,
        levels=pack_fields(entries.negative_N.astype(np.uint8), 1),
        scales=HEAD.pack(unit, entries.step),
    )


def decode(
    segment: EncodedSegment, chunk_starts: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Positions int64 [N] and values float32 [N], normal and not zero.

    Raises:
        TruncatedUpdateError, IndexOutOfRangeError, NonCanonicalUpdateError
    """
    if not segment.support:
        check_length("levels", segment.levels, 0)
        check_length("scales", segment.scales, 0)
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    check_length("scales", segment.scales, HEAD.size)
    unit, step = HEAD.unpack(segment.scales)
    said = _read(segment.support, chunk_starts, k, unit, two_levels=step > 0)
    count = len(said.places_N)
    if count == 0:
        raise NonCanonicalUpdateError("a segment without entries must be empty. Encode the update again.")
    check_length("levels", segment.levels, packed_size(count, 1))
    entries = Entries(said, unpack_bits(segment.levels, count).astype(np.bool_), step)
    if said.high_N is not None:
        _check_highs(entries, said.high_N)
    return entries.positions(chunk_starts), entries.values()


def _read(stream: bytes, chunk_starts: NDArray[np.int64], k: int, unit: int, *, two_levels: bool) -> Support:
    if not native.available():
        return read_plain(stream, chunk_starts, k, unit, two_levels=two_levels)
    status, counts_C, eighths_C, places_N, high_N = native.read_support(
        compiled_tables(), stream, chunk_starts, k, unit, two_levels=two_levels
    )
    if status:
        refusal, message = _REFUSED[status - 1]
        raise refusal(message)
    return Support(counts_C, eighths_C, places_N, high_N if two_levels else None)


def _check_highs(entries: Entries, high_N: NDArray[np.uint8]) -> None:
    counts_C = entries.support.counts_C.astype(np.int64)
    ends_C = np.cumsum(counts_C)
    highs_N = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(high_N, dtype=np.int64)])
    highs_C = highs_N[ends_C] - highs_N[ends_C - counts_C]
    if ((counts_C > 0) & (highs_C == counts_C)).any():
        raise NonCanonicalUpdateError("a chunk has high entries only; they must be written as low ones")
    if highs_N[-1] == 0:
        raise NonCanonicalUpdateError(f"the step is {entries.step}, expected 0 where no entry is high")
    numbers_N = entries.numbers()
    if numbers_N.min() < SMALLEST or numbers_N.max() > LARGEST:
        raise IndexOutOfRangeError("a magnitude is beyond the range of normal float32. Compress the change again.")
