"""Draws, their tables, and the coder below: exact inverses, near the entropy, the same everywhere."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import digest_bytes
from barnraise.errors import NonCanonicalUpdateError, TruncatedUpdateError
from barnraise.updates.draw import Symbols, find, subset_bits, symbols_of
from barnraise.updates.draw_tables import SLOTS, SLOTS_LOG, bucket_starts, draw_tables, fields_of
from barnraise.updates.rans import LANES, LOWEST, Reader, write
from barnraise.updates.tables import FRACTION, ONE, log_factorials, logarithm, powers

draws = st.integers(2, 4096).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size - 1)))


def all_symbols(size: int, left: int) -> Symbols:
    places = np.arange(size - left + 1)
    return symbols_of(np.full(len(places), size), np.full(len(places), left), places)


@settings(deadline=None)
@given(draws, st.integers(0, SLOTS - 1))
def test_a_slot_has_the_places_that_are_written_with_it(draw, slot):
    bucket, drawn = find(*draw, slot), all_symbols(*draw)
    assert bucket.start <= slot < bucket.start + bucket.width
    same = drawn.starts == bucket.start
    places = np.flatnonzero(same)
    assert places.tolist() == [p for p in range(bucket.first, bucket.first + (1 << bucket.bits)) if p < len(same)]
    assert (drawn.widths[same] == bucket.width).all()
    assert (drawn.bits[same] == bucket.bits).all()
    assert (drawn.rests[same] == places - bucket.first).all()


@settings(deadline=None)
@given(draws)
def test_every_place_can_be_written(draw):
    drawn = all_symbols(*draw)
    assert (drawn.widths >= 1).all()
    assert (drawn.rests >= 0).all()
    assert (drawn.rests < 1 << drawn.bits).all()
    assert drawn.bits.max() + SLOTS_LOG < 32  # more would need two words


def test_every_draw_has_a_table_whose_last_bucket_reaches_its_last_place():
    for left in range(1, 4096):
        sizes = np.arange(left + 1, 4097)
        last = symbols_of(sizes, np.full(len(sizes), left), sizes - left)
        assert (last.widths >= 1).all(), left
        assert (last.rests < 1 << last.bits).all(), left


def test_buckets_follow_each_other_and_share_all_slots():
    words = draw_tables().astype(np.int64)
    assert (words[0] == SLOTS | np.arange(SLOTS) << 10).all()
    for table in words[words[:, 0] > 0]:
        widths, within, firsts, logs = fields_of(table)
        begin = within == 0
        assert widths[begin].sum() == SLOTS
        assert (within == np.arange(SLOTS) - np.repeat(np.flatnonzero(begin), widths[begin])).all()
        assert firsts[0] == 0
        assert (firsts[begin][1:] == firsts[begin][:-1] + (1 << logs[begin][:-1])).all()


def test_the_tables_are_the_format():
    """Whoever changes them writes another format: what was written before could not be read."""
    digest = "b3:4d1d8bbba3f6bad6b54246d3963bbf6e566842bc61da02ae25bf4f957063c0c3"
    assert digest_bytes(draw_tables().astype("<u4").tobytes() + bucket_starts().astype("<u2").tobytes()) == digest


@pytest.mark.parametrize(
    ("size", "left", "most"),
    [
        (4096, 1, 0.05),
        (3000, 1, 0.1),
        (4096, 64, 0.02),
        (4096, 41, 0.02),
        (128, 3, 0.06),
        (600, 300, 0.03),
        (60, 14, 0.03),
    ],
)
def test_what_is_written_costs_little_more_than_the_entropy(size, left, most):
    drawn = all_symbols(size, left)
    chances = np.array([math.comb(size - 1 - p, left - 1) / math.comb(size, left) for p in range(size - left + 1)])
    lost = (chances * (np.log2(np.maximum(chances, 1e-300)) + SLOTS_LOG - np.log2(drawn.widths) + drawn.bits)).sum()
    assert 0 <= lost < most


def test_a_logarithm_of_a_subset_count_is_exact_to_its_fraction_bits():
    for size, left in [(4096, 64), (4096, 2048), (128, 3), (1, 1), (5, 0)]:
        bits = subset_bits(np.array([size]), np.array([left]))[0] / (1 << FRACTION)
        assert abs(bits - math.log2(math.comb(size, left))) < 4e-6


def test_the_tables_are_what_they_say():
    assert [logarithm(1 << i) for i in range(5)] == [i << 40 for i in range(5)]
    assert abs(logarithm(4095) / 2**40 - math.log2(4095)) < 1e-9
    assert log_factorials()[:3].tolist() == [0, 0, 1 << FRACTION]
    exact = ONE * 2.0 ** (-np.arange(1025) / 1024)
    assert (np.abs(powers() - exact) <= 1).all()
    assert powers()[[0, 1024]].tolist() == [ONE, ONE // 2]
    assert (np.diff(powers().astype(np.int64)) < 0).all()


@st.composite
def symbols(draw):
    log, bits = draw(st.integers(0, 24)), draw(st.integers(0, 7))
    start = draw(st.integers(0, (1 << log) - 1))
    width = draw(st.integers(1, (1 << log) - start))
    return draw(st.integers(0, LANES - 1)), log, start, width, bits, draw(st.integers(0, (1 << bits) - 1))


@settings(deadline=None)
@given(st.lists(symbols(), max_size=60))
def test_symbols_come_back_and_leave_nothing(sent):
    reader = Reader(write(reversed(sent)))
    for lane, log, start, width, bits, rest in sent:
        assert start <= reader.slot(lane, log) < start + width
        assert reader.take(lane, log, start, width, bits) == rest
    reader.check_end()


def test_a_stream_ends_where_its_symbols_end():
    stream = write([(0, 24, 5, 7, 0, 0)] * 40)
    for wrong, error in ((stream[:-4], TruncatedUpdateError), (stream + bytes(4), NonCanonicalUpdateError)):
        with pytest.raises(error):  # noqa: PT012
            reader = Reader(wrong)
            for _ in range(40):
                reader.take(0, 24, 5, 7)
            reader.check_end()


@pytest.mark.parametrize("state", [0, LOWEST - 1, 1 << 63])
def test_a_state_out_of_range_is_refused(state):
    with pytest.raises(NonCanonicalUpdateError, match="out of range"):
        Reader(state.to_bytes(8, "little") + write([])[8:])
