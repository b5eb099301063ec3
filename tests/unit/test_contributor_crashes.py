"""When a node that crashed tries again, and when it gives up."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from contributor.crashes import CAP_S, CRASHES_MAX, FIRST_S, FORGIVEN_AFTER_S, SAME_MAX, Crashes, Retry


def story(*crashes: tuple[str, float, int]) -> list[Retry]:
    """What follows from each of ``crashes``: place, seconds worked, receipts."""
    record, found = Crashes(), []
    for place, worked_s, received in crashes:
        record, retry = record.after(place, worked_s=worked_s, received=received)
        found.append(retry)
    return found


def test_pauses_grow_and_the_reason_has_the_numbers() -> None:
    *tries, last = story(*[(f"place {i}", 1.0, 0) for i in range(CRASHES_MAX)])
    assert [retry.wait_s for retry in tries] == [30.0, 60.0, 120.0, 240.0, 300.0]
    assert tries[0].reason == "trying again in 30 s"
    assert tries[2].reason == "trying again in 120 s (crash 3 of 6 in a row)"
    assert last == Retry(None, "gave up after 6 crashes in a row")


def test_the_same_fault_again_and_again_is_given_up_sooner() -> None:
    *tries, last = story(*[("the same", 1.0, 0)] * SAME_MAX)
    assert all(retry.wait_s is not None for retry in tries)
    assert last == Retry(None, "gave up after the same fault 3 times in a row, with no unit between")


def test_long_units_that_crash_at_their_end_are_not_trained_for_ever() -> None:
    """An hour of work forgives the count; only a receipt shows that the place can be passed."""
    assert story(*[("the end", 2 * FORGIVEN_AFTER_S, 0)] * SAME_MAX)[-1].wait_s is None
    assert all(retry.wait_s == FIRST_S for retry in story(*[("the end", 1.0, 1)] * 50))


def test_a_node_that_holds_for_hours_between_various_faults_goes_on() -> None:
    assert all(retry.wait_s == FIRST_S for retry in story(*[(str(i), FORGIVEN_AFTER_S, 0) for i in range(50)]))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e5), st.integers(0, 2)), max_size=30))
def test_pauses_are_bounded_and_idle_crashing_ends(crashes: list[tuple[str, float, int]]) -> None:
    tried = list(itertools.takewhile(lambda retry: retry.wait_s is not None, story(*crashes)))
    assert all(FIRST_S <= (retry.wait_s or 0.0) <= CAP_S for retry in tried)
    idle = [worked_s < FORGIVEN_AFTER_S and not received for _, worked_s, received in crashes[: len(tried)]]
    longest = max((len(list(run)) for is_idle, run in itertools.groupby(idle) if is_idle), default=0)
    assert longest < CRASHES_MAX
