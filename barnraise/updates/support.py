"""Which elements of a segment changed, and how strong each chunk is, as one stream of symbols.

A chunk has ``count`` entries among its elements, nearly always as many as the codec keeps. To
say which, it is cut into pieces of equal length (the last one may be shorter): first the
bars between the pieces' shares are drawn from ``count + pieces - 1`` places, then each piece's
entries from its elements. Both are the draws of draw.py. Bars make every way to share the
entries out equally likely, so pieces that have many or none cost little. That is how real
updates are: some rows of a matrix learn, others rest. Where entries lie evenly one piece, the
whole chunk, costs less; it has no bars, and costs hardly more than the entropy of ``count`` in a chunk.

Which length costs least is computed, not tried: a chunk's choice is the cheapest one, with
``SWITCH`` bits on those that the chunk before did not take, and ``BACK`` bits on going back to
the whole chunk. So there is one encoding of given content, and a decoder that finds another
choice refuses it.

The stream, in the order of decoding (chunk ``c`` uses the coder's state ``c % 4``):

1. of each chunk: how many entries are missing; and if it has some, the change of its scale
   since the last chunk that had, in eighths of an octave, and whether its pieces changed. All are
   numbers in unary, each bit with a model that learns from the bits at its place before;
2. by groups of four chunks: one bar of each in turn, then one entry of each in turn;
3. if the segment has two levels: one bit an entry, learning too.

N  entries of the segment
C  chunks of the segment

Source: bars and stars, Feller 1950, "An Introduction to Probability Theory"; learning bits,
    Krichevsky and Trofimov 1981, "The performance of universal encoding", with Laplace's rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import IndexOutOfRangeError, NonCanonicalUpdateError
from barnraise.updates.codec import kept_per_chunk
from barnraise.updates.draw import find, subset_bits, symbols_of
from barnraise.updates.draw_tables import SLOTS_LOG
from barnraise.updates.rans import LANES, Reader, Symbol, write
from barnraise.updates.tables import FRACTION

__all__ = ["EIGHTHS", "Support", "read_plain", "write_plain"]

EIGHTHS = range(-1008, 1024)  # of an octave: scales of normal float32
CHOICES = 6  # pieces of 4096, 2048, 1024, 512, 256 and 128 elements
SWITCH = 6 << FRACTION
BACK = 2 << FRACTION
_CONTEXTS = 14
_BIT_LOG = 24  # slots of a bit that learns
_ESCAPE_BITS = 13


@dataclass(frozen=True)
class Support:
    """What the stream of a segment says.

    Attributes:
        counts_C: uint32, entries of each chunk.
        eighths_C: int32, scale of each chunk in eighths of an octave; 0 where it has no entries.
        places_N: uint32, positions of the entries within their chunks, increasing in each.
        high_N: uint8, 1 for a high entry, or None if the segment has one level.
    """

    counts_C: NDArray[np.uint32]
    eighths_C: NDArray[np.int32]
    places_N: NDArray[np.uint32]
    high_N: NDArray[np.uint8] | None


def write_plain(support: Support, chunk_starts: NDArray[np.int64], k: int) -> bytes:
    """Encode the support of a segment that has entries."""
    choices_C = _choices(support, chunk_starts)
    writer = _Writer()
    _put_plan(writer, support, choices_C, kept_per_chunk(chunk_starts, k).tolist())
    symbols = [writer.symbols, _draws(support, choices_C, chunk_starts)]
    if support.high_N is not None:
        writer = _Writer()
        bit = [1, 1]
        for entry, high in enumerate(support.high_N.tolist()):
            writer.bit(entry % LANES, bit, high)
        symbols.append(writer.symbols)
    return write(symbol for part in reversed(symbols) for symbol in reversed(part))


def read_plain(stream: bytes, chunk_starts: NDArray[np.int64], k: int, unit: int, *, two_levels: bool) -> Support:
    """Decode the support of a segment.

    Args:
        stream: bytes that nobody has checked.
        unit: scale of the first chunk that has entries.

    Raises:
        TruncatedUpdateError, IndexOutOfRangeError, NonCanonicalUpdateError
    """
    reader = Reader(stream)
    sizes = np.diff(chunk_starts).tolist()
    counts, eighths, choices = _read_plan(reader, kept_per_chunk(chunk_starts, k).tolist(), unit)
    places: list[int] = []
    for first in range(0, len(sizes), LANES):
        group = slice(first, first + LANES)
        lanes = [_Chunk(*chunk) for chunk in zip(sizes[group], counts[group], choices[group], strict=True)]
        _read_group(reader, lanes)
        for lane in lanes:
            places += lane.places
    high_N = None
    if two_levels:
        bit = [1, 1]
        high_N = np.array([_read_bit(reader, entry % LANES, bit) for entry in range(len(places))], dtype=np.uint8)
    reader.check_end()
    support = Support(
        np.array(counts, dtype=np.uint32), np.array(eighths, dtype=np.int32), np.array(places, dtype=np.uint32), high_N
    )
    if _choices(support, chunk_starts).tolist() != choices:
        raise NonCanonicalUpdateError("a chunk's pieces are not those that cost least. Encode the update again.")
    return support


# -- pieces ------------------------------------------------------------------------------


def _choices(support: Support, chunk_starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [C]: 0 for a whole chunk, ``c`` for pieces of ``4096 >> c`` elements."""
    costs = _costs(support, chunk_starts).tolist()
    before, choices = 0, []
    for cost, count in zip(costs, support.counts_C.tolist(), strict=True):
        if count:
            moving = [0 if choice == before else SWITCH if choice else BACK for choice in range(CHOICES)]
            full = [bits + more for bits, more in zip(cost, moving, strict=True)]
            before = full.index(min(full))
        choices.append(before)
    return np.array(choices, dtype=np.int64)


def _costs(support: Support, chunk_starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bits of each choice with ``FRACTION`` fraction bits, int64 [C, CHOICES]."""
    sizes_C = np.diff(chunk_starts)
    counts_C = support.counts_C.astype(np.int64)
    finest = 1 << (CHOICES - 1)
    chunks_N = np.repeat(np.arange(len(sizes_C)), counts_C)
    shares_CQ = np.bincount(
        chunks_N * finest + (support.places_N >> 7).astype(np.int64), minlength=len(sizes_C) * finest
    ).reshape(-1, finest)
    costs = [subset_bits(sizes_C, counts_C)]
    for choice in range(1, CHOICES):
        pieces = 1 << choice
        length = 4096 >> choice
        piece_counts_CQ = shares_CQ.reshape(len(sizes_C), pieces, -1).sum(axis=2)
        lengths_CQ = np.clip(sizes_C[:, None] - np.arange(pieces) * length, 0, length)
        bars_C = -(-sizes_C // length) - 1
        costs.append(subset_bits(counts_C + bars_C, bars_C) + subset_bits(lengths_CQ, piece_counts_CQ).sum(axis=1))
    return np.stack(costs, axis=1)


# -- encoding ----------------------------------------------------------------------------


class _Writer:
    """Symbols in the order of decoding."""

    def __init__(self) -> None:
        self.symbols: list[Symbol] = []

    def bit(self, lane: int, bit: list[int], high: int) -> None:
        self.symbols.append((lane, _BIT_LOG, *_slots_of(bit, high), 0, 0))
        bit[high] += 1

    def number(self, lane: int, bits: list[list[int]], number: int) -> None:
        for at, bit in enumerate(bits):
            self.bit(lane, bit, int(number > at))
            if number == at:
                return
        self.symbols.append((lane, _ESCAPE_BITS, number - _CONTEXTS, 1, 0, 0))


def _slots_of(bit: list[int], high: int) -> tuple[int, int]:
    """Start and width of an outcome: the high one has the lower slots."""
    border = (bit[1] << _BIT_LOG) // (bit[0] + bit[1])
    return (0, border) if high else (border, (1 << _BIT_LOG) - border)


def _fresh() -> list[list[int]]:
    return [[1, 1] for _ in range(_CONTEXTS)]


def _put_plan(writer: _Writer, support: Support, choices_C: NDArray[np.int64], kept: list[int]) -> None:
    missing, scales, cuts = _fresh(), _fresh(), _fresh()
    before: int | None = None
    choice = 0
    chunks = zip(support.counts_C.tolist(), support.eighths_C.tolist(), choices_C.tolist(), kept, strict=True)
    for index, (count, eighth, now, most) in enumerate(chunks):
        lane = index % LANES
        writer.number(lane, missing, most - count)
        if not count:
            continue
        if before is not None:
            delta = eighth - before
            writer.number(lane, scales, 2 * delta if delta >= 0 else -2 * delta - 1)
        writer.number(lane, cuts, 0 if now == choice else now + 1 if now < choice else now)
        before, choice = eighth, now


def _draws(support: Support, choices_C: NDArray[np.int64], chunk_starts: NDArray[np.int64]) -> list[Symbol]:
    """The symbols of bars and entries, in the order of decoding."""
    sizes_C, counts_C = np.diff(chunk_starts), support.counts_C.astype(np.int64)
    lengths_C = 4096 >> choices_C
    pieces_C = np.where(counts_C > 0, -(-sizes_C // lengths_C), 0)
    chunks_Q = np.repeat(np.arange(len(sizes_C)), pieces_C)
    pieces_Q = _within(pieces_C)
    chunks_N = np.repeat(np.arange(len(sizes_C)), counts_C)
    places_N = support.places_N.astype(np.int64)
    firsts_C = np.cumsum(pieces_C) - pieces_C
    piece_N = firsts_C[chunks_N] + places_N // lengths_C[chunks_N]
    shares_Q = np.bincount(piece_N, minlength=len(pieces_Q))

    used_Q = np.cumsum(shares_Q) - shares_Q
    used_Q -= (np.cumsum(counts_C) - counts_C)[chunks_Q]
    bars_Q = pieces_C[chunks_Q] - 1 - pieces_Q
    bar_Q = np.flatnonzero(bars_Q > 0)
    sizes_Q = counts_C[chunks_Q] - used_Q + bars_Q

    within_N = _within(shares_Q)
    previous_N = np.where(within_N > 0, np.roll(places_N, 1) + 1, places_N // lengths_C[chunks_N] * lengths_C[chunks_N])
    ends_N = np.minimum((places_N // lengths_C[chunks_N] + 1) * lengths_C[chunks_N], sizes_C[chunks_N])

    chunks = np.concatenate([chunks_Q[bar_Q], chunks_N])
    phase = np.concatenate([np.zeros(len(bar_Q), dtype=np.int64), np.ones(len(chunks_N), dtype=np.int64)])
    turn = np.concatenate([pieces_Q[bar_Q], _within(counts_C)])
    sizes = np.concatenate([sizes_Q[bar_Q], ends_N - previous_N])
    lefts = np.concatenate([bars_Q[bar_Q], shares_Q[piece_N] - within_N])
    places = np.concatenate([shares_Q[bar_Q], places_N - previous_N])
    order = np.lexsort((chunks, turn, phase, chunks // LANES))
    order = order[sizes[order] > lefts[order]]
    drawn = symbols_of(sizes[order], lefts[order], places[order])
    lanes, logs = chunks[order] % LANES, np.full(len(order), SLOTS_LOG)
    columns = (lanes, logs, drawn.starts, drawn.widths, drawn.bits, drawn.rests)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _within(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, .. count - 1 of each count, one after the other."""
    indices: NDArray[np.int64] = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return indices


# -- decoding ----------------------------------------------------------------------------


def _read_bit(reader: Reader, lane: int, bit: list[int]) -> int:
    start, width = _slots_of(bit, 1)
    high = int(reader.slot(lane, _BIT_LOG) < width)
    reader.take(lane, _BIT_LOG, *((start, width) if high else _slots_of(bit, 0)))
    bit[high] += 1
    return high


def _read_number(reader: Reader, lane: int, bits: list[list[int]]) -> int:
    for number, bit in enumerate(bits):
        if not _read_bit(reader, lane, bit):
            return number
    rest = reader.slot(lane, _ESCAPE_BITS)
    reader.take(lane, _ESCAPE_BITS, rest, 1)
    return _CONTEXTS + rest


def _read_plan(reader: Reader, kept: list[int], unit: int) -> tuple[list[int], list[int], list[int]]:
    """Count, scale and choice of every chunk."""
    missing, scales, cuts = _fresh(), _fresh(), _fresh()
    eighth, choice, first = unit, 0, True
    counts, eighths, choices = [], [], []
    for index, most in enumerate(kept):
        lane = index % LANES
        count = most - _read_number(reader, lane, missing)
        if count < 0:
            raise IndexOutOfRangeError(
                f"chunk {index} lacks more than the {most} entries that it may have. Compress again."
            )
        if count:
            if not first:
                number = _read_number(reader, lane, scales)
                eighth += -((number + 1) >> 1) if number & 1 else number >> 1
            first = False
            if eighth not in EIGHTHS:
                raise IndexOutOfRangeError(
                    "a magnitude is beyond the range of normal float32. Compress the change again."
                )
            other = _read_number(reader, lane, cuts)
            if other >= CHOICES:
                raise NonCanonicalUpdateError(f"a chunk has choice {other} of pieces, there are {CHOICES}")
            choice = (other - 1 if other - 1 < choice else other) if other else choice
        counts.append(count)
        eighths.append(eighth if count else 0)
        choices.append(choice)
    return counts, eighths, choices


class _Chunk:
    """A chunk being decoded."""

    def __init__(self, size: int, count: int, choice: int) -> None:
        self.count = count
        length = 4096 >> choice
        self.lengths = [min(length, size - start) for start in range(0, size, length)] if count else []
        self.shares: list[int] = []
        self.places: list[int] = []
        self._at = 0
        self._piece = -1
        self._end = 0
        self._left = 0

    def next_draw(self) -> tuple[int, int]:
        """Size and number of the subset that the next entry is the first of."""
        while not self._left:
            self._piece += 1
            self._at = self._end
            self._end += self.lengths[self._piece]
            self._left = self.shares[self._piece]
        return self._end - self._at, self._left

    def entry(self, place: int) -> None:
        self.places.append(self._at + place)
        self._at += place + 1
        self._left -= 1


def _read_group(reader: Reader, lanes: list[_Chunk]) -> None:
    for turn in range(max((len(chunk.lengths) for chunk in lanes), default=0) - 1):
        for lane, chunk in enumerate(lanes):
            bars = len(chunk.lengths) - 1 - turn
            if bars > 0:
                chunk.shares.append(_read_draw(reader, lane, chunk.count - sum(chunk.shares) + bars, bars))
    for chunk in lanes:
        if chunk.count:
            chunk.shares.append(chunk.count - sum(chunk.shares))
        if any(share > length for share, length in zip(chunk.shares, chunk.lengths, strict=True)):
            raise IndexOutOfRangeError("a piece of a chunk has more entries than elements. Compress the change again.")
    for turn in range(max(chunk.count for chunk in lanes)):
        for lane, chunk in enumerate(lanes):
            if turn < chunk.count:
                chunk.entry(_read_draw(reader, lane, *chunk.next_draw()))


def _read_draw(reader: Reader, lane: int, size: int, left: int) -> int:
    if size == left:
        return 0
    bucket = find(size, left, reader.slot(lane, SLOTS_LOG))
    place = bucket.first + reader.take(lane, SLOTS_LOG, bucket.start, bucket.width, bucket.bits)
    if place > size - left:
        raise IndexOutOfRangeError("an entry lies beyond the last place that it may have. Compress the change again.")
    return place
