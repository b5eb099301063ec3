"""Calls of the loops of the codecs: choosing, entropy coding, and adding packed updates.

Every function here checks sizes and types before it hands out an address, and is called only
where ``available()`` is true; the callers in ``barnraise.updates`` and ``merge.compress`` hold
the plain twins.

C  chunks
N  entries
P  elements
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barnraise.native import library, spread
from barnraise.native.calls import CHUNK, at, check, check_chunks, function

__all__ = [
    "Added",
    "DecodedUpdate",
    "PackedUpdate",
    "add_decoded",
    "add_packed",
    "available",
    "decode_packed",
    "place",
    "read_support",
    "select",
    "settle",
    "write_support",
]

CHUNKS_PER_SEGMENT = 256
_CHUNKS_GRAIN = 16
_ELEMENTS_GRAIN = 1 << 16
_TOGETHER = 16  # segments that are decoded before they are added, at most
_AT_LEAST = 4  # of one update if there are no others: four are decoded in step
_ROOM = 1 << 18  # entries of all of them
_PIECES = 16  # of segments for each thread: one takes a millisecond and more, and none should wait long for the other
_SYMBOLS_PER_CHUNK = 3 * 16 + 32  # three numbers at most, and bars
_NAMES = (
    "select",
    "relative",
    "parted",
    "left_out",
    "place",
    "read_support",
    "write_support",
    "quantise",
    "pack_codes",
    "restore",
    "quantise_signs",
    "restore_signs",
    "add_packed",
    "decode_packed",
    "add_decoded",
    "settle",
)


def available() -> bool:
    """Whether there is a compiled library that has all of these loops, on a machine whose words are the format's."""
    loaded = library()
    return (
        sys.byteorder == "little"
        and loaded is not None
        and all(hasattr(loaded, f"barnraise_{name}") for name in _NAMES)
    )


def select(
    values_P: NDArray[np.float32], starts_C: NDArray[np.int64], kept_C: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint32]] | None:
    """The ``kept`` largest magnitudes of every chunk that are normal, the lowest places among equals.

    Returns:
        Places within the chunks, uint32 [N], increasing in each, what lies there, float32 [N], and how
        many each has, uint32 [C]. None if an element is not finite.
    """
    chunks = check_chunks(starts_C, len(values_P))
    check(values_P, np.float32, len(values_P))
    assert kept_C.shape == (chunks,), kept_C.shape
    assert (kept_C >= 1).all(), kept_C
    assert (kept_C <= np.diff(starts_C)).all(), kept_C
    firsts_C = np.zeros(chunks + 1, dtype=np.int64)
    np.cumsum(kept_C, out=firsts_C[1:])
    most = int(firsts_C[-1])
    places, chosen = np.empty(most, dtype=np.uint32), np.empty(most, dtype=np.float32)
    counts_C = np.empty(chunks, dtype=np.uint32)
    loop = function("select", "pppnnppp")
    finite: list[int] = []

    def work(start: int, end: int) -> None:
        places_at = (at(places), at(chosen), at(counts_C))
        finite.append(loop(at(values_P), at(starts_C), at(firsts_C), start, end, *places_at))

    spread(work, chunks, _CHUNKS_GRAIN)
    if not all(finite):
        return None
    if (counts_C == kept_C).all():
        return places, chosen, counts_C
    used = _used(firsts_C, counts_C)
    return places[used], chosen[used], counts_C


def _used(firsts_C: NDArray[np.int64], counts_C: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which entries are there, bool, of those that there is room for: the first ``counts`` of each chunk's."""
    room_C = np.diff(firsts_C)
    within_N = np.arange(int(firsts_C[-1])) - np.repeat(firsts_C[:-1], room_C)
    used_N: NDArray[np.bool_] = within_N < np.repeat(counts_C, room_C)
    return used_N


def place(positions_N: NDArray[np.int64], values_N: NDArray[np.float32], out_P: NDArray[np.float32]) -> None:
    """Fill ``out_P`` with zeros, and put the values where they belong."""
    count, size = len(positions_N), len(out_P)
    check(positions_N, np.int64, count)
    check(values_N, np.float32, count)
    check(out_P, np.float32, size)
    assert out_P.flags.writeable
    assert not count or (positions_N.min() >= 0 and positions_N.max() < size), "a position lies beyond the segment"
    function("place", "ppnnp", None)(at(positions_N), at(values_N), count, size, at(out_P))


def read_support(
    tables: NDArray[np.uint32], stream: bytes, starts_C: NDArray[np.int64], k: int, unit: int, *, two_levels: bool
) -> tuple[int, NDArray[np.uint32], NDArray[np.int32], NDArray[np.uint32], NDArray[np.uint8]]:
    """Decode a segment's support: (status, counts [C], eighths [C], places [N], high [N]).

    A status other than 0 says that the bytes are refused; the arrays mean nothing then.
    """
    chunks, most = check_chunks(starts_C, None), _most(starts_C, k)
    counts_C, eighths_C = np.empty(chunks, dtype=np.uint32), np.empty(chunks, dtype=np.int32)
    places, high = np.empty(most, dtype=np.uint32), np.empty(most if two_levels else 0, dtype=np.uint8)
    status = function("read_support", "ppnpnniipppp")(
        at(tables), stream, len(stream), at(starts_C), chunks, k, unit, two_levels,
        at(counts_C), at(eighths_C), at(places), at(high),
    )  # fmt: skip
    total = 0 if status else int(counts_C.sum())
    return status, counts_C, eighths_C, places[:total], high[:total]


def write_support(
    tables: NDArray[np.uint32],
    starts_C: NDArray[np.int64],
    k: int,
    said: tuple[NDArray[np.uint32], NDArray[np.int32], NDArray[np.uint32], NDArray[np.uint8] | None],
) -> bytes:
    """Encode a segment's support from counts [C], eighths [C], places [N] and high [N] or None."""
    counts_C, eighths_C, places_N, high_N = said
    chunks = check_chunks(starts_C, None)
    check(counts_C, np.uint32, chunks)
    check(eighths_C, np.int32, chunks)
    check(places_N, np.uint32, int(counts_C.sum()))
    assert len(places_N) <= _most(starts_C, k), len(places_N)
    assert (places_N < np.repeat(np.diff(starts_C), counts_C)).all(), "a place lies beyond its chunk"
    symbols = (2 if high_N is not None else 1) * len(places_N) + _SYMBOLS_PER_CHUNK * chunks
    ops, room = np.empty(3 * symbols, dtype=np.uint32), np.empty(4 * symbols + 64, dtype=np.uint8)
    if high_N is not None:
        check(high_N, np.uint8, len(places_N))
    size = function("write_support", "ppnnpppppp n", ctypes.c_int64)(
        at(tables), at(starts_C), chunks, k, at(counts_C), at(eighths_C), at(places_N),
        None if high_N is None else at(high_N), at(ops), at(room), len(room),
    )  # fmt: skip
    assert size > 0, size
    return room[:size].tobytes()


@dataclass(frozen=True)
class PackedUpdate:
    """The arrays of one top-k update; ``offsets_3S`` (int64 [3, S + 1]) cuts levels, scales and support."""

    levels: memoryview
    scales: memoryview
    support: memoryview
    offsets_3S: NDArray[np.int64]
    k: int

    def check(self, segments: int) -> None:
        assert self.offsets_3S.shape == (3, segments + 1), self.offsets_3S.shape
        assert self.offsets_3S.dtype == np.int64, self.offsets_3S.dtype
        assert self.offsets_3S.flags.c_contiguous
        assert (self.offsets_3S[:, 0] >= 0).all(), "offsets begin before the arrays"
        assert (np.diff(self.offsets_3S) >= 0).all(), "offsets go back"
        ends = [len(self.levels), len(self.scales), len(self.support)]
        assert (self.offsets_3S[:, -1] <= ends).all(), "offsets reach beyond the arrays"
        assert 1 <= self.k <= CHUNK // 2, self.k


class _Packed(ctypes.Structure):
    _fields_ = (
        ("levels", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("support", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("k", ctypes.c_int64),
        ("factor", ctypes.c_float),
    )


@dataclass(frozen=True)
class Added:
    """What came of adding packed updates.

    Attributes:
        wrong: segment and number of an update that is refused, or None.
        finite: whether all sums are.
        in_step: how many segments of updates were decoded together with others, in vector registers.
    """

    wrong: tuple[int, int] | None
    finite: bool
    in_step: int


def add_packed(
    tables: NDArray[np.uint32],
    starts_C: NDArray[np.int64],
    segments: range,
    updates: Sequence[tuple[PackedUpdate, float]],
    out_P: NDArray[np.float32],
) -> Added:
    """Add updates times their factors, in their order, to the elements of consecutive segments.

    Args:
        starts_C: int64, of all chunks of the space.
        out_P: float32, the elements of these segments; half done if an update is refused.
    """
    chunks = len(starts_C) - 1
    count = -(-chunks // CHUNKS_PER_SEGMENT)
    assert 0 <= segments.start < segments.stop <= count, segments
    bounds = [min(edge * CHUNKS_PER_SEGMENT, chunks) for edge in (segments.start, segments.stop)]
    first, last = (int(starts_C[bound]) for bound in bounds)
    check(starts_C, np.int64, chunks + 1)
    check(out_P, np.float32, last - first)
    assert out_P.flags.writeable
    for update, _ in updates:
        update.check(count)
    packed = (_Packed * len(updates))(*(_Packed(*_addresses(u), u.k, factor) for u, factor in updates))
    loop = function("add_packed", "ppnnnpnnnppppp", ctypes.c_int64)
    most = max((u.k for u, _ in updates), default=1) * CHUNKS_PER_SEGMENT
    together = max(1, min(_TOGETHER, max(len(updates), _AT_LEAST), _ROOM // most))
    wrong: list[tuple[int, int]] = []
    beyond: list[int] = []
    in_step: list[int] = []

    def work(start: int, end: int) -> None:
        places, high = np.empty(together * most, dtype=np.uint32), np.empty(together * most, dtype=np.uint8)
        which, said = ctypes.c_int64(0), (ctypes.c_uint32 * 2)()
        begin = int(starts_C[(segments.start + start) * CHUNKS_PER_SEGMENT]) - first
        failed = loop(
            at(tables), at(starts_C), chunks, segments.start + start, segments.start + end, packed, len(updates),
            together, most, at(places), at(high), out_P[begin:].ctypes.data, ctypes.byref(which),
            ctypes.byref(said),
        )  # fmt: skip
        if failed >= 0:
            wrong.append((failed, which.value))
        beyond.append(said[0])
        in_step.append(said[1])

    spread(work, len(segments), 1, _PIECES)
    return Added(min(wrong, default=None), not any(beyond), sum(in_step))


@dataclass(frozen=True)
class DecodedUpdate:
    """Entries of a whole update, chunk by chunk.

    Attributes:
        places_N: uint16, within their chunks. values_N: float32.
        firsts_C: int64 [C + 1], number of each chunk's first entry; the last one is N.
    """

    places_N: NDArray[np.uint16]
    values_N: NDArray[np.float32]
    firsts_C: NDArray[np.int64]

    def check(self, starts_C: NDArray[np.int64]) -> None:
        chunks, count = len(starts_C) - 1, len(self.places_N)
        check(self.places_N, np.uint16, count)
        check(self.values_N, np.float32, count)
        check(self.firsts_C, np.int64, chunks + 1)
        counts_C = np.diff(self.firsts_C)
        assert self.firsts_C[0] == 0, self.firsts_C[0]
        assert self.firsts_C[-1] == count, (self.firsts_C[-1], count)
        assert (counts_C >= 0).all(), "entries go back"


def decode_packed(
    tables: NDArray[np.uint32], starts_C: NDArray[np.int64], update: PackedUpdate, kept_C: NDArray[np.int64]
) -> DecodedUpdate | int:
    """All entries of a packed update, decoded on several threads; or the number of a segment that is wrong.

    Args:
        starts_C: int64, of all chunks of the space.
        kept_C: int64 [C], how many entries each chunk may have with the update's ``k``.
    """
    chunks = len(starts_C) - 1
    segments = -(-chunks // CHUNKS_PER_SEGMENT)
    check(starts_C, np.int64, chunks + 1)
    check(kept_C, np.int64, chunks)
    update.check(segments)
    firsts_C = np.zeros(chunks + 1, dtype=np.int64)
    np.cumsum(kept_C, out=firsts_C[1:])
    room = int(firsts_C[-1])
    places, values = np.empty(room, dtype=np.uint16), np.empty(room, dtype=np.float32)
    counts_C = np.zeros(chunks, dtype=np.uint32)
    packed = _Packed(*_addresses(update), update.k, 1.0)
    most = update.k * CHUNKS_PER_SEGMENT
    loop = function("decode_packed", "ppnnnpnpppppp", ctypes.c_int64)
    wrong: list[int] = []

    def work(start: int, end: int) -> None:
        found, high = np.empty(_AT_LEAST * most, dtype=np.uint32), np.empty(_AT_LEAST * most, dtype=np.uint8)
        failed = loop(
            at(tables), at(starts_C), chunks, start, end, ctypes.byref(packed), most, at(found), at(high),
            at(firsts_C), at(places), at(values), at(counts_C),
        )  # fmt: skip
        if failed >= 0:
            wrong.append(failed)

    spread(work, segments, _AT_LEAST)
    if wrong:
        return min(wrong)
    if (counts_C == kept_C).all():
        return DecodedUpdate(places, values, firsts_C)
    used = _used(firsts_C, counts_C)
    np.cumsum(counts_C, out=firsts_C[1:])
    return DecodedUpdate(places[used], values[used], firsts_C)


class _Decoded(ctypes.Structure):
    _fields_ = (
        ("places", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("firsts", ctypes.c_void_p),
        ("factor", ctypes.c_float),
    )


def add_decoded(
    starts_C: NDArray[np.int64], updates: Sequence[tuple[DecodedUpdate, float]], out_P: NDArray[np.float32]
) -> None:
    """Add decoded updates times their factors, in their order.

    Args:
        starts_C: int64, of all chunks of the space. Every place must lie in its chunk.
        out_P: float32, the whole space.
    """
    chunks = check_chunks(starts_C, len(out_P))
    check(out_P, np.float32, len(out_P))
    assert out_P.flags.writeable
    for update, _ in updates:
        update.check(starts_C)
    decoded = (_Decoded * len(updates))(
        *(_Decoded(at(u.places_N), at(u.values_N), at(u.firsts_C), factor) for u, factor in updates)
    )
    loop = function("add_decoded", "pnnpnp", None)
    spread(lambda start, end: loop(at(starts_C), start, end, decoded, len(updates), at(out_P)), chunks, _CHUNKS_GRAIN)


def settle(base_P: NDArray[np.float32], out_P: NDArray[np.float32]) -> bool:
    """Write ``base + 0.0`` to ``out``, which may be ``base``; whether all of it is finite."""
    size = len(base_P)
    check(base_P, np.float32, size)
    check(out_P, np.float32, size)
    assert out_P.flags.writeable
    loop = function("settle", "ppnn")
    finite: list[int] = []
    spread(lambda start, end: finite.append(loop(at(base_P), at(out_P), start, end)), size, _ELEMENTS_GRAIN)
    return all(finite)


def _most(starts_C: NDArray[np.int64], k: int) -> int:
    """How many entries a segment may have at most."""
    assert 1 <= k <= CHUNK // 2, k
    return int((-(-np.diff(starts_C) * k // CHUNK)).sum())


def _addresses(update: PackedUpdate) -> list[int]:
    views = [np.asarray(view) for view in (update.levels, update.scales, update.support)]
    return [at(array) for array in (*views, update.offsets_3S)]
