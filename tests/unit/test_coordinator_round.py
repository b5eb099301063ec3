"""The round machine: a table of single steps, and laws under random stories."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.round import Round, RoundPolicy, resume, step
from coordinator.round_events import (
    Accepted,
    Candidate,
    Check,
    CheckFailed,
    CheckPassed,
    CulpritsFound,
    FindCulprits,
    Interrupted,
    Judged,
    Merge,
    Merged,
    MergeFailed,
    RoundEvent,
    RunTests,
    SuiteFailed,
    Tag,
    Tagged,
    Tick,
    UpdateArrived,
)

POLICY = RoundPolicy(target_updates=3, min_updates=2, settle_for_ms=4_000, collect_for_ms=10_000)
OPEN = Round(number=1, base_version="0.1.0", base_digest="b3:base")
ALLOWED = {
    ("collecting", "merging"),
    ("collecting", "abandoned"),
    ("merging", "testing"),
    ("merging", "rejected"),
    ("testing", "merging"),
    ("testing", "released"),
    ("testing", "rejected"),
}
INTERRUPTED = {("collecting", "abandoned"), ("merging", "abandoned"), ("testing", "abandoned")}


def candidate_of(merge_set: tuple[str, ...]) -> Candidate:
    name = "+".join(merge_set)
    return Candidate(model_digest=f"m:{name}", patch_digest=f"p:{name}", patch_bytes=1, state_digest=f"s:{name}")


def run(current: Round, *events: RoundEvent) -> Round:
    for event in events:
        current = step(current, event, POLICY).round
    return current


def collected(*digests: str) -> Round:
    return run(OPEN, *(event for d in digests for event in (UpdateArrived(d), CheckPassed(d))))


def tick(seconds: float, leases_out: int = 0) -> Tick:
    now_ms = int(seconds * 1000)
    return Tick(now_ms=now_ms, first_lease_at_ms=0, last_seen_at_ms=now_ms, leases_out=leases_out)


def test_an_update_is_checked_once_however_often_it_arrives() -> None:
    first = step(OPEN, UpdateArrived("a"), POLICY)
    assert first.actions == (Check("a"),)
    assert step(first.round, UpdateArrived("a"), POLICY).actions == ()


def test_enough_updates_are_merged_when_no_lease_is_out() -> None:
    current = collected("c", "a", "b")
    assert step(current, tick(1, leases_out=1), POLICY).round.phase == "collecting"
    moved = step(current, tick(1), POLICY)
    assert moved.actions == (Merge(("a", "b", "c")),)
    assert "3 updates checked, 3 wanted" in moved.reason


def test_a_lease_that_is_out_is_not_waited_for_after_the_deadline() -> None:
    assert step(collected("a", "b", "c"), tick(10, leases_out=1), POLICY).round.phase == "merging"
    assert step(collected("a", "b"), tick(10, leases_out=1), POLICY).round.phase == "merging"


def test_all_who_are_here_have_delivered_so_nobody_is_waited_for() -> None:
    settled = Tick(now_ms=8_000, first_lease_at_ms=0, last_seen_at_ms=4_000, leases_out=0)
    moved = step(collected("a", "b"), settled, POLICY)
    assert moved.actions == (Merge(("a", "b")),)
    assert "nobody came for 4 s" in moved.reason
    for waiting in (replace(settled, now_ms=7_999), replace(settled, leases_out=1)):
        assert step(collected("a", "b"), waiting, POLICY).round.phase == "collecting"
    assert step(collected("a"), settled, POLICY).round.phase == "collecting"


def test_too_few_at_the_deadline_abandons_the_round_with_the_numbers() -> None:
    ended = step(collected("a"), tick(11), POLICY)
    assert ended.round.phase == "abandoned"
    assert "1 updates" in ended.reason
    assert "at least 2" in ended.reason


def test_a_running_check_holds_the_deadline() -> None:
    current = step(collected("a", "b"), UpdateArrived("c"), POLICY).round
    assert step(current, tick(60), POLICY).round == current


def test_nothing_is_abandoned_before_anybody_took_a_lease() -> None:
    event = Tick(now_ms=10**9, first_lease_at_ms=None, last_seen_at_ms=None, leases_out=0)
    assert step(OPEN, event, POLICY).round == OPEN


def test_a_good_candidate_is_tagged() -> None:
    merged = step(
        run(collected("a", "b", "c"), tick(1)), Merged(("a", "b", "c"), candidate_of(("a", "b", "c"))), POLICY
    )
    candidate = candidate_of(("a", "b", "c"))
    assert merged.actions == (RunTests(candidate),)
    judged = step(merged.round, Judged(candidate, True, "all pass", now_ms=42), POLICY)
    assert judged.actions == (Tag(candidate, ("a", "b", "c"), 42),)
    assert step(judged.round, Tagged("0.1.1"), POLICY).round.phase == "released"


def failed(*digests: str) -> Round:
    candidate = candidate_of(digests)
    return run(collected(*digests), tick(20), Merged(digests, candidate), Judged(candidate, False, "worse", now_ms=1))


def test_culprits_are_removed_and_the_rest_is_merged_again() -> None:
    current = failed("a", "b", "c")
    assert resume(current) == (FindCulprits(("a", "b", "c")),)
    after = step(current, CulpritsFound(("b",), "b alone fails"), POLICY)
    assert after.actions == (Merge(("a", "c")),)
    assert after.round.rejected == ("b",)


def test_without_culprits_or_with_too_few_left_the_round_is_rejected() -> None:
    assert run(failed("a", "b", "c"), CulpritsFound((), "all fail")).phase == "rejected"
    assert run(failed("a", "b", "c"), CulpritsFound(("a", "b"), "two")).phase == "rejected"


def test_what_was_accepted_is_tagged_whether_or_not_it_is_being_searched() -> None:
    abc = ("a", "b", "c")
    accepted = Accepted(candidate_of(abc), "order-1", "they said so", now_ms=42)
    testing = run(collected(*abc), tick(1), Merged(abc, candidate_of(abc)))
    waiting = run(testing, SuiteFailed(candidate_of(abc), "no data", now_ms=1))
    for current in (testing, waiting, failed(*abc)):
        taken = step(current, accepted, POLICY)
        assert taken.actions == (Tag(candidate_of(abc), abc, 42),)
        assert resume(taken.round) == taken.actions
        assert (taken.round.accepted_by, taken.round.searching, taken.round.retry_at_ms) == ("order-1", False, None)
        ended = step(taken.round, Tagged("0.2.0"), POLICY).round
        assert (ended.phase, ended.reason) == ("released", "tagged 0.2.0; they said so")
    assert run(failed(*abc), replace(accepted, candidate=candidate_of(("x",)))) == failed(*abc)
    passed = run(testing, Judged(candidate_of(abc), True, "all pass", now_ms=1))
    assert run(passed, accepted) == passed, "what passes needs no leave"


def test_a_failed_merge_rejects_the_round() -> None:
    assert run(collected("a", "b", "c"), tick(1), MergeFailed("disk")).phase == "rejected"


def test_a_round_whose_base_the_trunk_has_left_ends_in_any_phase_without_blame() -> None:
    merging = run(collected("a", "b", "c"), tick(1))
    testing = run(merging, Merged(("a", "b", "c"), candidate_of(("a", "b", "c"))))
    for current in (OPEN, collected("a"), merging, testing):
        taken = step(current, Interrupted("the trunk goes on from 0.1.0"), POLICY)
        assert (taken.round.phase, taken.reason) == ("abandoned", "the trunk goes on from 0.1.0")
        assert (taken.actions, taken.round.rejected) == ((), ())
    released = run(testing, Judged(candidate_of(("a", "b", "c")), True, "", now_ms=1), Tagged("0.1.1"))
    assert step(released, Interrupted("too late"), POLICY).round == released


def test_a_suite_that_cannot_be_run_is_tried_again_later_and_later_and_blames_nobody() -> None:
    candidate = candidate_of(("a", "b", "c"))
    current, at_ms, waits = run(collected("a", "b", "c"), tick(20), Merged(("a", "b", "c"), candidate)), 0, []
    for _ in range(8):
        taken = step(current, SuiteFailed(candidate, "no data", now_ms=at_ms), POLICY)
        assert taken.actions == ()
        assert taken.round.phase == "testing"
        assert "no data" in taken.reason
        assert taken.round.retry_at_ms is not None
        waits.append((taken.round.retry_at_ms - at_ms) // 60_000)
        early, late = (Tick(taken.round.retry_at_ms + more, 0, 0, 0) for more in (-1, 0))
        assert step(taken.round, early, POLICY).actions == ()
        assert resume(taken.round) == (RunTests(candidate),), "a conductor that starts anew tries at once"
        tried = step(taken.round, late, POLICY)
        assert tried.actions == (RunTests(candidate),)
        assert step(tried.round, late, POLICY).actions == (), "and once only"
        current, at_ms = tried.round, late.now_ms
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    passed = step(current, Judged(candidate, True, "all pass", now_ms=1), POLICY).round
    assert (passed.decided_at_ms, passed.suite_failures) == (1, 0)


def test_an_outcome_for_another_candidate_is_ignored() -> None:
    current = run(collected("a", "b", "c"), tick(1), Merged(("a", "b", "c"), candidate_of(("a", "b", "c"))))
    assert run(current, Judged(candidate_of(("x",)), True, "", now_ms=1)) == current


DIGESTS = st.sampled_from("abcd")
SETS = st.sets(DIGESTS, max_size=4).map(lambda chosen: tuple(sorted(chosen)))
EVENTS = st.one_of(
    st.builds(UpdateArrived, DIGESTS),
    st.builds(CheckPassed, DIGESTS),
    st.builds(CheckFailed, DIGESTS),
    st.builds(Tick, st.integers(0, 30_000), st.sampled_from([None, 0]), st.integers(0, 9_000), st.integers(0, 2)),
    st.builds(lambda s: Merged(s, candidate_of(s)), SETS),
    st.just(MergeFailed("no space")),
    st.builds(lambda s, ok: Judged(candidate_of(s), ok, "judged", 7), SETS, st.booleans()),
    st.builds(lambda s: Accepted(candidate_of(s), "order", "accepted", 8), SETS),
    st.builds(lambda s, at: SuiteFailed(candidate_of(s), "no data", at), SETS, st.integers(0, 99_000)),
    st.builds(CulpritsFound, SETS, st.just("found")),
    st.just(Tagged("0.1.1")),
    st.just(Interrupted("the trunk goes on from elsewhere")),
)


def answer(current: Round, draw_ok: bool, event: RoundEvent) -> RoundEvent:
    """The outcome that an obedient conductor would report, so that stories get far."""
    if current.phase == "merging":
        return Merged(current.merge_set, candidate_of(current.merge_set))
    if current.phase == "testing" and current.candidate is not None:
        if current.decided_at_ms is not None:
            return Tagged("0.1.1")
        if current.searching and draw_ok:
            return Accepted(current.candidate, "order", "accepted", 8)
        if current.searching:
            return CulpritsFound(current.merge_set[:1], "found")
        return Judged(current.candidate, draw_ok, "judged", 7)
    return event


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(EVENTS, st.booleans(), st.booleans()), max_size=40))
def test_no_story_leaves_the_table_or_issues_an_action_twice(story: list[tuple[RoundEvent, bool, bool]]) -> None:
    current, issued, tagged = OPEN, [], 0
    for event, obedient, ok in story:
        event = answer(current, ok, event) if obedient else event
        after = step(current, event, POLICY)
        if after.round.phase != current.phase:
            allowed = INTERRUPTED if isinstance(event, Interrupted) else ALLOWED
            assert (current.phase, after.round.phase) in allowed
            assert after.reason
        if current.is_final:
            assert after.round == current
        if not (isinstance(event, Tick) and current.retry_at_ms is not None):  # a suite that is tried again
            issued += after.actions
        tagged += sum(isinstance(action, Tag) for action in after.actions)
        assert Round.from_json(after.round.as_json()) == after.round
        assert not set(after.round.merge_set) & set(after.round.rejected) or after.round.is_final
        current = after.round
    assert len(issued) == len(set(issued))
    assert tagged <= 1
    assert current.phase != "released" or tagged == 1
    assert current.accepted_by is None or current.decided_at_ms is not None


@settings(deadline=None, max_examples=100)
@given(st.permutations(["a", "b", "c"]))
def test_arrival_order_leaves_no_trace(order: list[str]) -> None:
    assert collected(*order) == collected("a", "b", "c")
