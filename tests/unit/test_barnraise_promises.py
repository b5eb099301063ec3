"""What becomes of promises: laws of comparing them, then every odd case by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.promises import Difference, Fate, Promise, compare, difference, promises_of

BEFORE = Promise(asks="b3:loss", margin=0.05, examples=48, at_hand=100, alpha=0.05)
NUMBERS = st.sampled_from([0.01, 0.05, 0.1])
COUNTS = st.sampled_from([8, 48, 100])
PROMISES = st.builds(Promise, st.sampled_from(["b3:loss", "b3:size"]), NUMBERS, COUNTS, COUNTS, NUMBERS)
SUITES = st.dictionaries(st.sampled_from("abc"), PROMISES, max_size=3)
BREAKS = {"another", "looser"}


@settings(deadline=None)
@given(PROMISES, PROMISES)
def test_what_is_stricter_one_way_is_looser_the_other(before: Promise, after: Promise) -> None:
    there, back = compare(before, after), compare(after, before)
    assert (there == "same") == (back == "same") == (before == after)
    assert (there == "another") == (back == "another")
    assert not {there, back} <= {"stricter"}


@settings(deadline=None)
@given(PROMISES, PROMISES, PROMISES)
def test_a_promise_that_is_kept_twice_is_kept(first: Promise, second: Promise, third: Promise) -> None:
    if not {compare(first, second), compare(second, third)} & BREAKS:
        assert compare(first, third) not in BREAKS


@settings(deadline=None)
@given(st.lists(SUITES, min_size=1, max_size=3), SUITES)
def test_every_earlier_promise_is_kept_or_named(before: list[dict[str, Promise]], after: dict[str, Promise]) -> None:
    found = difference(before, after)
    broken = {*found.dropped, *found.replaced, *found.loosened}
    for promises in before:
        for name, promise in promises.items():
            kept = name in after and compare(promise, after[name]) not in BREAKS
            assert kept or name in broken
    names = [*found.added, *found.dropped, *found.replaced, *found.loosened, *found.tightened]
    assert len(names) == len(set(names)), "each test has one fate"
    assert set(found.added) == {name for name in after if all(name not in promises for promises in before)}


@settings(deadline=None)
@given(SUITES, SUITES, SUITES)
def test_more_releases_to_keep_to_never_break_less(
    one: dict[str, Promise], other: dict[str, Promise], after: dict[str, Promise]
) -> None:
    alone, both = difference([one], after), difference([one, other], after)
    assert {*alone.dropped, *alone.replaced, *alone.loosened} <= {*both.dropped, *both.replaced, *both.loosened}


@settings(deadline=None)
@given(SUITES)
def test_the_same_suite_changes_nothing(suite: dict[str, Promise]) -> None:
    assert difference([suite, suite], suite) == Difference()


@pytest.mark.parametrize(
    ("after", "fate"),
    [
        (BEFORE, "same"),
        (replace(BEFORE, asks="b3:other"), "another"),
        (replace(BEFORE, asks="b3:other", margin=0.01), "another"),
        (replace(BEFORE, margin=0.01), "stricter"),
        (replace(BEFORE, margin=0.1), "looser"),
        (replace(BEFORE, examples=100), "stricter"),
        (replace(BEFORE, examples=47), "looser"),
        (replace(BEFORE, at_hand=99), "looser"),
        (replace(BEFORE, alpha=0.1), "looser"),
        (replace(BEFORE, alpha=0.01), "stricter"),
        (replace(BEFORE, margin=0.01, examples=24), "looser"),
        (Promise(), "same"),
        (Promise(margin=0.1), "looser"),
    ],
)
def test_what_a_changed_test_is(after: Promise, fate: Fate) -> None:
    assert compare(BEFORE, after) == fate


def test_a_new_name_is_told_from_a_new_test() -> None:
    renamed = difference([{"old": BEFORE}], {"new": replace(BEFORE, margin=0.01)})
    assert (renamed.dropped, renamed.added) == ({"old": "new"}, ("new",))
    for other in (replace(BEFORE, asks="b3:x"), replace(BEFORE, margin=0.1), Promise()):
        assert difference([{"old": BEFORE}], {"new": other}).dropped == {"old": ""}
    both = difference([{"old": BEFORE, "new": BEFORE}], {"new": BEFORE})
    assert both.dropped == {"old": ""}, "what was there already is nobody's new name"


def test_what_is_told_has_the_numbers() -> None:
    found = difference([{"a": BEFORE, "b": BEFORE}], {"a": replace(BEFORE, margin=0.1, examples=100), "b": BEFORE})
    assert found.loosened == {"a": "margin 0.05 -> 0.1, examples 48 -> 100"}


def test_promises_are_those_of_supported_tests_and_old_releases_have_them_by_name() -> None:
    row = {"supported": True, "margin": 0.05, "mean": 1.0}
    summary = {"b": row, "a": {**row, "asks": "b3:x", "examples": 8, "at_hand": 9, "alpha": 0.1}}
    summary["c"] = {**row, "supported": False}
    assert promises_of(summary) == {"a": Promise("b3:x", 0.05, 8, 9, 0.1), "b": Promise(margin=0.05)}
