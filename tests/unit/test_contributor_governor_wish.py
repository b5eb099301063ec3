"""Wishes combine to the most careful one, whatever the order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contributor.governor import Unrestricted, Wish, combine
from contributor.governor.settle import Settled, settle
from laws import examples

RATES = st.none() | st.floats(1.0, 1e9)
WISHES = st.builds(
    Wish,
    work=st.booleans(),
    reason=st.sampled_from(["a", "b", "c"]),
    duty=st.floats(0.01, 1.0),
    micro_batch_max=st.none() | st.integers(1, 64),
    up_bytes_per_s=RATES,
    down_bytes_per_s=RATES,
    transfer=st.booleans(),
    look_again_s=st.floats(0.1, 60.0),
)


def bolder(one: Wish, other: Wish) -> bool:
    """Whether ``one`` allows anything that ``other`` does not."""

    def most(limit: float | None) -> float:
        return float("inf") if limit is None else limit

    return (
        one.work > other.work
        or one.transfer > other.transfer
        or one.duty > other.duty
        or most(one.micro_batch_max) > most(other.micro_batch_max)
        or most(one.up_bytes_per_s) > most(other.up_bytes_per_s)
        or most(one.down_bytes_per_s) > most(other.down_bytes_per_s)
        or one.look_again_s > other.look_again_s
    )


@given(parts=st.lists(WISHES, min_size=1, max_size=5), data=st.data())
@settings(max_examples=examples(60), deadline=None)
def test_a_combined_wish_is_no_bolder_than_any_part_and_knows_no_order(parts: list[Wish], data: st.DataObject) -> None:
    whole = combine(parts)
    assert not any(bolder(whole, part) for part in parts)
    assert combine(data.draw(st.permutations(parts))) == whole
    assert combine([*parts, *parts]) == whole
    assert combine([whole, whole]) == whole


@given(parts=st.lists(WISHES, min_size=1, max_size=5))
@settings(max_examples=examples(40), deadline=None)
def test_nothing_is_limited_that_no_part_limits(parts: list[Wish]) -> None:
    whole = combine(parts)
    assert whole.work == all(part.work for part in parts)
    assert whole.duty in {part.duty for part in parts}
    assert whole.micro_batch_max in {part.micro_batch_max for part in parts}


def test_a_node_that_does_not_work_hears_only_why_not() -> None:
    parts = [Wish(False, "on battery"), Wish(True, "hot", duty=0.5), Wish(True, "all is well")]
    assert combine(parts).reason == "on battery"
    assert combine(parts[1:]).reason == "hot"
    assert combine([parts[2], Wish(True, "fine")]).reason == "none of 2 policies holds anything back"


def test_no_policy_is_no_limit() -> None:
    assert not combine([]).limits
    assert not Unrestricted().wish().limits


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": ""},
        {"duty": 0.0},
        {"duty": 1.1},
        {"duty": float("nan")},
        {"micro_batch_max": 0},
        {"up_bytes_per_s": 0.0},
        {"down_bytes_per_s": float("inf")},
        {"look_again_s": 0.0},
    ],
)
def test_a_wish_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Wish(**({"work": True, "reason": "x"} | wrong))  # type: ignore[arg-type]


# -- flapping ------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 8.0)), min_size=1, max_size=40))
@settings(max_examples=examples(60), deadline=None)
def test_work_goes_on_only_after_unbroken_quiet(story: list[tuple[bool, float]]) -> None:
    state, now_s, quiet_s, was_working = Settled(), 0.0, 0.0, True
    for wanted, passed_s in story:
        told, state = settle(state, Wish(wanted, "so"), now_s=now_s, resume_after_s=10.0)
        quiet_s = 0.0 if not wanted else quiet_s
        if not wanted:
            assert not told.work
        else:
            assert told.work == (was_working or quiet_s >= 10.0 - 1e-9)
        was_working = told.work
        quiet_s = quiet_s + passed_s if wanted else 0.0
        now_s += passed_s


def test_the_wait_says_how_long_it_still_is() -> None:
    _, stopped = settle(Settled(), Wish(False, "no"), now_s=0.0, resume_after_s=10.0)
    _, quiet = settle(stopped, Wish(True, "yes"), now_s=1.0, resume_after_s=10.0)
    told, _ = settle(quiet, Wish(True, "yes"), now_s=4.0, resume_after_s=10.0)
    assert told.reason == "nothing stands against work since 3 s; going on in 7 s"
