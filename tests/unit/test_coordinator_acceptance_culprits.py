"""Group testing against a planted truth: who is found, whom it spares, and how many tests that takes."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.acceptance.blame.culprits import CulpritSearch, Trial

Passes = Callable[[tuple[str, ...]], bool]

ROUNDS = (1, 2, 3, 5, 8, 16, 33, 64)
EXHAUSTIVE = 2_500  # where there are more ways to plant culprits, so many of them are drawn


def names(count: int) -> list[str]:
    return [f"b3:{index:04x}" for index in range(count)]


def run(search: CulpritSearch, passes: Passes) -> tuple[str, ...]:
    while (subset := search.next_subset()) is not None:
        search.record(subset, passes(subset))
    return search.result()


def without(bad: set[str]) -> Passes:
    return lambda subset: not bad & set(subset)


def planted(count: int, culprits: int) -> Iterator[set[str]]:
    """Every way to plant culprits among the updates, or many drawn ones, among them the two ends."""
    updates = names(count)
    if math.comb(count, culprits) <= EXHAUSTIVE:
        yield from map(set, itertools.combinations(updates, culprits))
        return
    yield set(updates[:culprits])
    yield set(updates[-culprits:])
    chance = random.Random(f"{count} {culprits}")
    for _ in range(500):
        yield set(chance.sample(updates, culprits))


def bound(count: int, culprits: int) -> int:
    return 2 * culprits * math.ceil(math.log2(count))


def require_proofs(search: CulpritSearch, passes: Passes) -> None:
    """Everybody who is blamed was tested both ways, and the rest passes."""
    updates = {update for trial in search.trials for update in trial.subset} | set(search.result())
    assert passes(tuple(sorted(updates - set(search.result()))))
    for culprit in search.result():
        proof = search.proof(culprit)
        assert set(proof.fails) - set(proof.passes) == {culprit}
        assert not passes(proof.fails)
        assert passes(proof.passes)


@pytest.mark.parametrize("count", ROUNDS)
@pytest.mark.parametrize("culprits", [1, 2, 3, 4])
def test_planted_culprits_are_found_within_the_bound(count: int, culprits: int) -> None:
    for bad in planted(count, culprits) if culprits <= count else ():
        search = CulpritSearch(names(count))
        assert set(run(search, without(bad))) == bad
        assert len(search.trials) <= bound(count, culprits)
        require_proofs(search, without(bad))


@pytest.mark.parametrize("count", ROUNDS)
def test_a_round_that_failed_by_chance_costs_one_update_and_few_merges(count: int) -> None:
    """No culprit at all: every subset passes, only the round as a whole did not."""
    search = CulpritSearch(names(count))
    found = run(search, lambda subset: len(subset) < count)
    assert len(found) == 1
    assert len(search.trials) <= math.ceil(math.log2(count))


@pytest.mark.parametrize("count", [2, 3, 5, 8, 16, 33, 64])
@pytest.mark.parametrize("groups", [(2,), (3,), (2, 1), (2, 2), (4,), (1, 1, 2)])
def test_culprits_that_are_bad_only_together_are_parted_within_the_bound(count: int, groups: tuple[int, ...]) -> None:
    chance = random.Random(f"{count} {groups}")
    for _ in range(100 if sum(groups) <= count else 0):
        drawn = chance.sample(names(count), sum(groups))
        starts = [sum(groups[:index]) for index in range(len(groups))]
        together = [set(drawn[start : start + size]) for start, size in zip(starts, groups, strict=True)]

        def passes(subset: tuple[str, ...], together: list[set[str]] = together) -> bool:
            return not any(group <= set(subset) for group in together)

        search = CulpritSearch(names(count))
        found = run(search, passes)
        assert [len(group & set(found)) for group in together] == [1] * len(groups), "one of each group goes"
        assert len(found) == len(groups)
        assert len(search.trials) <= bound(count, len(groups))
        require_proofs(search, passes)


def test_any_rule_that_removing_never_spoils_is_explained_within_the_bound() -> None:
    """All of them over four updates: whatever is bad, alone or together, also in overlapping groups."""
    updates = names(4)
    subsets = [frozenset(subset) for size in range(1, 5) for subset in itertools.combinations(updates, size)]
    rules = 0
    for size in range(1, 4):
        for bad in itertools.combinations(subsets, size):
            if any(one < other for one in bad for other in bad):
                continue  # the smaller set says all that the larger one says

            def passes(subset: tuple[str, ...], bad: tuple[frozenset[str], ...] = bad) -> bool:
                return not any(group <= set(subset) for group in bad)

            search = CulpritSearch(updates)
            found = run(search, passes)
            assert len(search.trials) <= bound(4, len(found))
            require_proofs(search, passes)
            rules += 1
    assert rules > 100


def test_any_answers_at_all_lead_to_a_proven_result_within_the_wide_bound() -> None:
    """All ways in which the subsets of four updates may pass and fail, where taking out can also spoil."""
    updates = tuple(names(4))
    subsets = [subset for size in range(1, 4) for subset in itertools.combinations(updates, size)]
    for pattern in range(2 ** len(subsets)):
        answers = {subset: bool(pattern >> index & 1) for index, subset in enumerate(subsets)}
        answers |= {updates: False, (): True}
        search = CulpritSearch(updates)
        found = run(search, answers.__getitem__)
        assert len(search.trials) <= 3.5 * 4
        for culprit in found:
            proof = search.proof(culprit)
            assert set(proof.fails) - set(proof.passes) == {culprit}
            assert (answers[proof.fails], answers[proof.passes]) == (False, True)
        assert answers[tuple(update for update in updates if update not in found)]


@pytest.mark.parametrize("count", [5, 16, 64])
def test_an_update_that_mends_what_another_does_is_no_trap(count: int) -> None:
    """Not bad together but bad alone: the culprit fails unless its antidote is there too."""
    updates = names(count)
    for bad, cure in itertools.permutations((updates[0], updates[count // 2], updates[-1]), 2):
        broken = updates[1]

        def passes(subset: tuple[str, ...], bad: str = bad, cure: str = cure, broken: str = broken) -> bool:
            return broken not in subset and not (bad in subset and cure not in subset)

        search = CulpritSearch(updates)
        found = run(search, passes)
        assert broken in found
        assert len(search.trials) <= 3.5 * count
        require_proofs(search, passes)


@pytest.mark.parametrize("count", [8, 33, 64])
def test_a_right_hint_saves_merges_and_a_wrong_one_costs_few(count: int) -> None:
    updates, chance = names(count), random.Random(count)
    for _ in range(60):
        bad = set(chance.sample(updates, 2))
        plain = CulpritSearch(updates)
        run(plain, without(bad))
        hinted = CulpritSearch(updates, suspicion=dict.fromkeys(bad, 1.0))
        assert set(run(hinted, without(bad))) == bad
        assert len(hinted.trials) <= min(4, len(plain.trials))
        hints: list[Mapping[str, float]] = [
            {update: 2.0**-place for place, update in enumerate(updates) if update not in bad},
            {update: chance.random() ** 8 for update in updates},
            dict.fromkeys(sorted(set(updates) - bad)[:1], 1e300),
        ]
        for hint in hints:
            misled = CulpritSearch(updates, suspicion=hint)
            assert set(run(misled, without(bad))) == bad
            assert len(misled.trials) <= bound(count, 2) + 2 * 6
            require_proofs(misled, without(bad))


def test_a_hint_has_any_scale_and_what_is_no_number_of_suspicion_counts_as_none() -> None:
    updates, bad = names(16), {"b3:0003", "b3:000b"}
    searches = [
        CulpritSearch(updates, suspicion={"b3:0003": scale, "b3:0004": nothing, "b3:unknown": 5.0})
        for scale, nothing in ((1.0, 0.0), (1e308, -1.0), (1e-300, float("nan")), (7.0, float("inf")))
    ]
    for search in searches:
        assert set(run(search, without(bad))) == bad
    assert all(search.trials == searches[0].trials for search in searches)
    plain, empty = CulpritSearch(updates), CulpritSearch(updates, suspicion=dict.fromkeys(updates, 0.0))
    assert run(plain, without(bad)) == run(empty, without(bad))
    assert plain.trials == empty.trials


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


@pytest.mark.parametrize("culprits", [1, 2, 3])
def test_few_honest_updates_that_fail_on_their_own_are_spared(culprits: int) -> None:
    for bad in planted(16, culprits):
        found = run(CulpritSearch(names(16)), lambda subset, bad=bad: not bad & set(subset) and len(subset) >= 4)
        assert set(found) == bad


@given(count=st.integers(12, 64), seed=st.integers(0, 2**32), culprits=st.integers(1, 4))
@settings(deadline=None)
def test_the_bound_holds_where_parts_under_a_quarter_fail(count: int, seed: int, culprits: int) -> None:
    updates = names(count)
    bad = set(random.Random(seed).sample(updates, culprits))

    def passes(subset: tuple[str, ...]) -> bool:
        return not subset or (len(subset) >= count // 4 and not bad & set(subset))

    search = CulpritSearch(updates)
    assert set(run(search, passes)) == bad
    assert len(search.trials) <= bound(count, culprits)
    require_proofs(search, passes)


@pytest.mark.parametrize("count", [16, 33, 64])
def test_two_pairs_are_parted_within_the_bound_where_parts_under_a_quarter_fail(count: int) -> None:
    chance = random.Random(count)
    for _ in range(100):
        drawn = chance.sample(names(count), 4)
        pairs = [set(drawn[:2]), set(drawn[2:])]

        def passes(subset: tuple[str, ...], pairs: list[set[str]] = pairs) -> bool:
            return not subset or (len(subset) >= count / 4 and not any(pair <= set(subset) for pair in pairs))

        search = CulpritSearch(names(count))
        found = run(search, passes)
        assert [len(pair & set(found)) for pair in pairs] == [1, 1]
        assert len(search.trials) <= bound(count, 2)
        require_proofs(search, passes)


@given(count=st.integers(12, 64), seed=st.integers(0, 2**16), share=st.floats(0.1, 0.6))
@settings(deadline=None, max_examples=30)
def test_many_culprits_end_too(count: int, seed: int, share: float) -> None:
    """A part of the round is good, all others are not: no bound to keep, but everybody is told from the others."""
    updates = names(count)
    good = set(random.Random(seed).sample(updates, max(1, int(share * count))))
    search = CulpritSearch(updates)
    assert set(run(search, good.issuperset)) == set(updates) - good
    assert len(search.trials) <= 5 * count


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
    assert len(search.trials) <= 5 * count
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


@given(count=st.integers(2, 20), seed=st.integers(0, 2**16), stop=st.integers(0, 12), hinted=st.booleans())
@settings(deadline=None)
def test_a_search_is_taken_up_from_its_trials(count: int, seed: int, stop: int, hinted: bool) -> None:
    updates = names(count)
    chance = random.Random(seed)
    bad = set(chance.sample(updates, 2))
    hint = {update: chance.random() for update in updates} if hinted else None
    whole = CulpritSearch(updates, suspicion=hint)
    run(whole, without(bad))
    again = CulpritSearch(updates, known=whole.trials[:stop], suspicion=hint)
    run(again, without(bad))
    assert again.trials == whole.trials
    assert again.result() == whole.result()
    assert [again.proof(update) for update in bad] == [whole.proof(update) for update in bad]
    assert all(isinstance(trial, Trial) for trial in again.trials)
