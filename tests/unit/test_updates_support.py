"""The stream of a segment: both implementations say and refuse the same, and it costs what it should."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise import native
from barnraise.errors import UpdateError
from barnraise.updates import EncodedSegment, topk
from barnraise.updates.codec import kept_per_chunk
from barnraise.updates.draw_tables import compiled_tables
from barnraise.updates.support import EIGHTHS, Support, read_plain, write_plain

FULL = np.arange(0, 9 * 4096, 4096, dtype=np.int64)
ODD = np.array([0, 4096, 4100, 4101, 5125, 9221, 9222], dtype=np.int64)
MANY = np.arange(0, 257, dtype=np.int64)
LAYOUTS = {"full": FULL, "odd": ODD, "many": MANY}

compiled_too = pytest.mark.skipif(not native.codec.available(), reason="no compiled loops here")


def some_support(starts: np.ndarray, k: int, seed: int, *, rows: int = 0, missing: bool = False, high: bool = False):
    """Random entries; with ``rows``, most of them in few rows of so many elements."""
    rng = np.random.default_rng(seed)
    kept = kept_per_chunk(starts, k)
    counts = rng.integers(0, kept + 1) if missing else kept
    places = []
    for size, count in zip(np.diff(starts), counts, strict=True):
        weights = np.ones(size) if not rows else np.repeat(rng.exponential(size=-(-size // rows)) ** 2 + 1e-3, rows)
        places.append(np.sort(rng.choice(size, count, replace=False, p=weights[:size] / weights[:size].sum())))
    places_N = np.concatenate(places).astype(np.uint32)
    eighths = np.where(counts > 0, rng.integers(-90, -70, len(counts)), 0).astype(np.int32)
    high_N = (rng.random(len(places_N)) < 0.2).astype(np.uint8) if high else None
    return Support(counts.astype(np.uint32), eighths, places_N, high_N)


def compiled(support: Support, starts: np.ndarray, k: int) -> bytes:
    fields = (support.counts_C, support.eighths_C, support.places_N, support.high_N)
    return native.codec.write_support(compiled_tables(), starts, k, fields)


def unit_of(support: Support) -> int:
    return int(support.eighths_C[np.flatnonzero(support.counts_C)[0]])


def same(one: Support, other: Support) -> bool:
    fields = ("counts_C", "eighths_C", "places_N", "high_N")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in fields)


supports = st.builds(
    lambda layout, k, seed, rows, missing, high: (
        LAYOUTS[layout],
        k,
        some_support(LAYOUTS[layout], k, seed, rows=rows, missing=missing, high=high),
    ),
    st.sampled_from(sorted(LAYOUTS)),
    st.sampled_from([1, 5, 64, 64, 700]),
    st.integers(0, 1 << 30),
    st.sampled_from([0, 1, 100, 256]),
    st.booleans(),
    st.booleans(),
).filter(lambda case: len(case[2].places_N) > 0)


@settings(deadline=None, max_examples=40)
@given(supports)
def test_what_was_written_comes_back(case):
    starts, k, support = case
    stream = write_plain(support, starts, k)
    assert same(read_plain(stream, starts, k, unit_of(support), two_levels=support.high_N is not None), support)


@compiled_too
@settings(deadline=None, max_examples=80)
@given(supports)
def test_the_compiled_loops_write_and_read_the_same(case):
    starts, k, support = case
    stream = compiled(support, starts, k)
    assert stream == write_plain(support, starts, k)
    status, counts, eighths, places, high = native.codec.read_support(
        compiled_tables(), stream, starts, k, unit_of(support), two_levels=support.high_N is not None
    )
    assert status == 0
    assert same(Support(counts, eighths, places, None if support.high_N is None else high), support)


def outcome(segment: EncodedSegment, starts: np.ndarray, k: int) -> object:
    """What decoding gives, or that it refuses."""
    try:
        positions, values = topk.decode(segment, starts, k)
    except UpdateError:
        return "refused"
    return positions.tobytes(), values.tobytes()


def damaged(stream: bytes, draw: st.DataObject) -> bytes:
    """One bit turned, something cut off, something added, or anything at all."""
    kind = draw.draw(st.sampled_from(["bit", "bit", "cut", "more", "word", "any"]))
    if kind == "bit":
        place = draw.draw(st.integers(0, 8 * len(stream) - 1))
        changed = bytearray(stream)
        changed[place // 8] ^= 1 << place % 8
        return bytes(changed)
    if kind == "cut":
        return stream[: draw.draw(st.integers(0, len(stream) - 1))]
    if kind == "word":
        return stream[: -4 * draw.draw(st.integers(1, 3))]
    if kind == "more":
        return stream + draw.draw(st.binary(min_size=1, max_size=8))
    return draw.draw(st.binary(min_size=33, max_size=120)) + bytes(draw.draw(st.integers(0, 3)))


@compiled_too
@settings(deadline=None, max_examples=120)
@given(supports, st.data())
def test_both_refuse_the_same_damage_and_what_they_take_is_its_own_encoding(case, data):
    starts, k, support = case
    count = len(support.places_N)
    entries = topk.Entries(support, np.zeros(count, dtype=np.bool_), 3 if support.high_N is not None else 0)
    segment = topk.encode(entries, starts, k)
    broken = EncodedSegment(damaged(segment.support, data), segment.levels, segment.scales)
    found = outcome(broken, starts, k)
    with native.disabled():
        assert outcome(broken, starts, k) == found
    assert found == "refused" or found != outcome(segment, starts, k) or broken == segment


@compiled_too
def test_every_bit_of_a_stream_matters():
    support = some_support(ODD, 64, seed=3, rows=256)
    entries = topk.Entries(support, np.zeros(len(support.places_N), dtype=np.bool_), 0)
    segment = topk.encode(entries, ODD, 64)
    whole = outcome(segment, ODD, 64)
    for place in range(8 * len(segment.support)):
        changed = bytearray(segment.support)
        changed[place // 8] ^= 1 << place % 8
        assert outcome(EncodedSegment(bytes(changed), segment.levels, segment.scales), ODD, 64) != whole


@pytest.mark.parametrize("k", [4, 16, 64, 256, 1024])
def test_random_positions_cost_their_entropy(k):
    starts = np.arange(0, 257 * 4096, 4096, dtype=np.int64)
    support = some_support(starts, k, seed=k)
    flat = Support(support.counts_C, np.full(256, -80, dtype=np.int32), support.places_N, None)
    bits = (math.lgamma(4097) - math.lgamma(k + 1) - math.lgamma(4097 - k)) / math.log(2)
    states = 4 * 64  # and what chunks say of counts, scales and pieces
    assert 8 * len(write_plain(flat, starts, k)) < 256 * (bits + 0.03 * k) + states + 300


def test_rows_that_rest_make_a_segment_cheaper():
    starts = np.arange(0, 65 * 4096, 4096, dtype=np.int64)
    even, uneven = (write_plain(some_support(starts, 64, 1, rows=rows), starts, 64) for rows in (0, 256))
    assert len(uneven) < 0.9 * len(even)


def test_a_chunk_with_other_pieces_than_the_cheapest_is_refused(monkeypatch):
    support = some_support(FULL, 64, seed=1)
    good = write_plain(support, FULL, 64)
    monkeypatch.setattr("barnraise.updates.support._choices", lambda *_: np.ones(8, dtype=np.int64))
    other = write_plain(support, FULL, 64)
    monkeypatch.undo()
    assert other != good
    scales = topk.HEAD.pack(unit_of(support), 0)
    segment = EncodedSegment(other, bytes(64), scales)
    with pytest.raises(UpdateError, match="pieces are not those that cost least"):
        topk.decode(segment, FULL, 64)
    with native.disabled(), pytest.raises(UpdateError, match="pieces are not those that cost least"):
        topk.decode(segment, FULL, 64)


@compiled_too
def test_the_densest_segment_reads_the_same():
    support = some_support(ODD, 2048, seed=5, high=True)
    assert compiled(support, ODD, 2048) == write_plain(support, ODD, 2048)


def test_scales_may_jump_across_the_whole_range():
    eighths = np.array([EIGHTHS[0], EIGHTHS[-1]] * 4, dtype=np.int32)
    support = Support(np.full(8, 1, dtype=np.uint32), eighths, np.arange(8, dtype=np.uint32), None)
    stream = write_plain(support, FULL, 1)
    assert read_plain(stream, FULL, 1, EIGHTHS[0], two_levels=False).eighths_C.tolist() == eighths.tolist()
