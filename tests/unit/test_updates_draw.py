"""Draws, their tables, and the coder below: exact inverses, near the entropy, the same everywhere."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import NonCanonicalUpdateError, TruncatedUpdateError
from barnraise.updates.draw import find, slots, subset_bits
from barnraise.updates.rans import LANES, LOWEST, Reader, write
from barnraise.updates.tables import FRACTION, ONE, log_factorials, logarithm, logs, powers

draws = st.integers(2, 4096).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size - 1)))


def symbols_of(size: int, left: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.arange(size - left + 1)
    return slots(np.full(len(places), size), np.full(len(places), left), places)


@settings(deadline=None)
@given(draws)
def test_the_candidates_share_all_slots_without_a_gap(draw):
    starts, widths = symbols_of(*draw)
    assert starts[0] == 0
    assert (widths >= 1).all()
    assert (starts[1:] == starts[:-1] + widths[:-1]).all()
    assert starts[-1] + widths[-1] == ONE


@settings(deadline=None)
@given(draws, st.integers(0, ONE - 1))
def test_the_symbol_of_a_slot_is_found(draw, slot):
    starts, widths = symbols_of(*draw)
    place = int(np.searchsorted(starts, slot, side="right")) - 1
    assert find(*draw, slot) == (place, starts[place], widths[place])


@pytest.mark.parametrize(("size", "left"), [(4096, 1), (4096, 64), (600, 300), (300, 7), (2, 1)])
def test_the_slots_are_the_probabilities(size, left):
    _, widths = symbols_of(size, left)
    exact = np.array([math.comb(size - 1 - p, left - 1) / math.comb(size, left) for p in range(size - left + 1)])
    lost = (exact * np.log2(np.maximum(exact, 1e-300) * ONE / widths)).sum()
    assert 0 <= lost < 4e-4


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
    assert (np.abs(logs() - np.log2(1 + np.arange(1024) / 1024) * (1 << FRACTION)) <= 1).all()


symbols = st.tuples(st.integers(0, ONE - 1), st.integers(1, ONE), st.integers(0, LANES - 1)).map(
    lambda s: (s[0], min(s[1], ONE - s[0]), s[2])
)


@settings(deadline=None)
@given(st.lists(symbols, max_size=60))
def test_symbols_come_back_and_leave_nothing(sent):
    reader = Reader(write(reversed(sent)))
    for start, width, lane in sent:
        assert start <= reader.slot(lane) < start + width
        reader.take(lane, start, width)
    reader.check_end()


def test_a_stream_ends_where_its_symbols_end():
    stream = write([(5, 7, 0)] * 40)
    for wrong, error in ((stream[:-4], TruncatedUpdateError), (stream + bytes(4), NonCanonicalUpdateError)):
        with pytest.raises(error):  # noqa: PT012
            reader = Reader(wrong)
            for _ in range(40):
                reader.take(0, 5, 7)
            reader.check_end()


@pytest.mark.parametrize("state", [0, LOWEST - 1, 1 << 63])
def test_a_state_out_of_range_is_refused(state):
    with pytest.raises(NonCanonicalUpdateError, match="out of range"):
        Reader(state.to_bytes(8, "little") + write([])[8:])
