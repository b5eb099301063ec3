"""Micro-batches found by trial: any story of a machine's memory ends at a size that fits, and goes up when it may."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contributor.training.micro_batch import FIRST_PATIENCE_STEPS, LAST_PATIENCE_STEPS, MicroBatch
from laws import examples


def tried(search: MicroBatch, fits: int) -> MicroBatch:
    """One step on a machine on which ``fits`` examples fit at once, with all that it takes."""
    while search.size > fits:
        smaller = search.failed()
        assert smaller is not None
        search = smaller
    return search.worked()


def test_the_whole_batch_is_tried_first_and_stays_where_it_fits() -> None:
    search = MicroBatch.begin(8)
    for _ in range(100):
        assert search.size == 8
        search = tried(search, 8)


def test_what_an_earlier_unit_found_is_where_the_next_begins() -> None:
    assert MicroBatch.begin(8, remembered=2).size == 2
    assert MicroBatch.begin(8, remembered=100).size == 8
    assert MicroBatch.begin(8, remembered=0).size == 1


def test_a_size_is_halved_until_it_fits_and_one_is_the_end() -> None:
    search: MicroBatch | None = MicroBatch.begin(12)
    sizes = []
    while search is not None:
        sizes.append(search.size)
        search = search.failed()
    assert sizes == [12, 6, 3, 1]


@settings(max_examples=examples(20), deadline=None)
@given(
    batch=st.integers(1, 200),
    remembered=st.none() | st.integers(0, 300),
    story=st.lists(st.tuples(st.integers(1, 200), st.none() | st.integers(1, 250)), max_size=60),
)
def test_no_story_leaves_the_bounds(batch: int, remembered: int | None, story: list[tuple[int, int | None]]) -> None:
    search = MicroBatch.begin(batch, remembered)
    for fits, most in story:
        search = search.limited(most)
        assert 1 <= search.size <= search.allowed <= batch
        assert most is None or search.size <= most
        while search.size > fits:
            smaller = search.failed()
            assert smaller is not None
            assert smaller.size < search.size
            search = smaller
        search = search.worked()
    for _ in range(8 * LAST_PATIENCE_STEPS):  # all memory is there again, and nothing limits
        search = tried(search.limited(None), batch)
    assert search.size == batch


@settings(max_examples=40, deadline=None)
@given(batch=st.integers(2, 64), fits=st.integers(1, 63))
def test_failures_get_rare_on_a_machine_that_stays_as_it_is(batch: int, fits: int) -> None:
    search, failures = MicroBatch.begin(batch), 0
    for _ in range(4 * LAST_PATIENCE_STEPS):
        before = search
        search = tried(search, fits)
        failures += before.size > fits
    assert failures <= 20
    assert search.patience_steps == LAST_PATIENCE_STEPS or fits >= batch


def test_a_size_that_failed_is_tried_again_after_a_while() -> None:
    search = tried(MicroBatch.begin(8), 4)
    for _ in range(FIRST_PATIENCE_STEPS - 1):
        assert search.size == 4
        search = tried(search, 8)
    assert search.size == 8
    search = tried(search, 8)
    assert (search.failed_at, search.size) == (None, 8)


def test_a_limit_holds_at_once_and_goes_at_once_when_nothing_had_failed() -> None:
    search = tried(MicroBatch.begin(16), 16).limited(3)
    assert search.size == 3
    assert search.limited(None).size == 16
    assert search.limited(0).size == 1


def test_a_size_out_of_range_is_an_error_of_ours() -> None:
    with pytest.raises(ValueError, match="from 1 to the batch of 4"):
        MicroBatch(4, 5)


def test_what_a_limit_decides_is_not_what_was_found_out() -> None:
    assert MicroBatch.begin(8).found == 8
    assert MicroBatch.begin(8).limited(2).found is None
    smaller = MicroBatch.begin(8).failed()
    assert smaller is not None
    assert smaller.found == 4
