"""Group testing against a planted truth: who is found, whom it spares, and how many tests that takes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.acceptance.culprits import CulpritSearch, Trial

Passes = Callable[[tuple[str, ...]], bool]


def names(count: int) -> list[str]:
    return [f"b3:{index:04x}" for index in range(count)]


def run(search: CulpritSearch, passes: Passes) -> tuple[str, ...]:
    while (subset := search.next_subset()) is not None:
        search.record(subset, passes(subset))
    return search.result()


def without(bad: set[str]) -> Passes:
    return lambda subset: not bad & set(subset)


@given(count=st.integers(1, 64), seed=st.integers(0, 2**16), culprits=st.integers(1, 5))
@settings(deadline=None)
def test_exactly_the_planted_culprits_are_found(count: int, seed: int, culprits: int) -> None:
    updates = names(count)
    bad = set(random.Random(seed).sample(updates, min(culprits, count)))
    search = CulpritSearch(updates)
    assert run(search, without(bad)) == tuple(sorted(bad))
    assert len(search.trials) <= 2 * len(bad) * (math.ceil(math.log2(count)) if count > 1 else 0) + len(bad)


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_one_culprit_of_sixty_four_takes_at_most_twelve_tests(position: int) -> None:
    updates = names(64)
    search = CulpritSearch(updates)
    assert run(search, without({updates[position]})) == (updates[position],)
    assert len(search.trials) <= 12
    assert min(len(trial.subset) for trial in search.trials) >= 32


@given(st.permutations(names(9)))
@settings(deadline=None, max_examples=20)
def test_the_order_of_arrival_does_not_matter(order: list[str]) -> None:
    bad = {"b3:0002", "b3:0007"}
    shuffled, sorted_ = CulpritSearch(order), CulpritSearch(names(9))
    assert run(shuffled, without(bad)) == run(sorted_, without(bad))
    assert shuffled.trials == sorted_.trials


@given(count=st.integers(2, 64), seed=st.integers(0, 2**16))
@settings(deadline=None)
def test_of_a_pair_that_is_bad_only_together_one_goes(count: int, seed: int) -> None:
    updates = names(count)
    pair = set(random.Random(seed).sample(updates, 2))
    found = run(CulpritSearch(updates), lambda subset: not pair <= set(subset))
    assert found == (min(pair),)


def test_a_pair_and_a_loner_are_told_apart() -> None:
    updates = names(16)
    loner, pair = updates[9], {updates[3], updates[12]}
    found = run(CulpritSearch(updates), lambda subset: loner not in subset and not pair <= set(subset))
    assert loner in found
    assert len(found) == 2
    assert pair & set(found)


def test_few_honest_updates_that_fail_on_their_own_are_spared() -> None:
    updates = names(16)
    bad = {updates[5]}
    found = run(CulpritSearch(updates), lambda subset: not bad & set(subset) and len(subset) >= 6)
    assert found == tuple(bad)


@given(count=st.integers(1, 24), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_whatever_the_tests_say_it_ends_and_blames_nobody_untested(count: int, seed: int) -> None:
    """No rule behind the answers at all, as with noisy tests."""
    updates = tuple(names(count))
    answers: dict[tuple[str, ...], bool] = {updates: False, (): True}
    chance = random.Random(seed)
    search = CulpritSearch(updates)
    found = run(search, lambda subset: answers.setdefault(subset, chance.random() < 0.5))
    assert len({trial.subset for trial in search.trials}) == len(search.trials)
    assert len(search.trials) <= 3 * count
    rest = tuple(update for update in updates if update not in found)
    assert found
    assert answers[rest]
    for culprit in found:
        assert any(
            answers.get(tuple(sorted((*subset, culprit)))) is False
            for subset, passed in answers.items()
            if passed and culprit not in subset
        )


def test_when_all_are_bad_all_are_found() -> None:
    updates = names(7)
    assert run(CulpritSearch(updates), lambda subset: False) == tuple(updates)


def test_a_lone_update_needs_no_test() -> None:
    search = CulpritSearch(["b3:a"])
    assert search.next_subset() is None
    assert search.result() == ("b3:a",)


def test_asking_twice_changes_nothing_and_only_the_wanted_subset_is_taken() -> None:
    search = CulpritSearch(names(4))
    wanted = search.next_subset()
    assert wanted == search.next_subset() == tuple(names(4)[2:])
    with pytest.raises(AssertionError):
        search.record(tuple(names(4)[:1]), True)
    with pytest.raises(AssertionError, match="not over"):
        search.result()


@given(count=st.integers(2, 20), seed=st.integers(0, 2**16), stop=st.integers(0, 12))
@settings(deadline=None)
def test_a_search_is_taken_up_from_its_trials(count: int, seed: int, stop: int) -> None:
    updates = names(count)
    bad = set(random.Random(seed).sample(updates, 2))
    whole = CulpritSearch(updates)
    run(whole, without(bad))
    again = CulpritSearch(updates, known=whole.trials[:stop])
    run(again, without(bad))
    assert again.trials == whole.trials
    assert again.result() == whole.result()
    assert all(isinstance(trial, Trial) for trial in again.trials)
