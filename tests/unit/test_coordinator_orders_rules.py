"""What may be ordered, and what it does: rules on facts, one sentence with each answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import OrderRefusedError
from coordinator.ledger import BanRow, QuarantineRow, ReleaseRow, UpdateRow
from coordinator.ledger.events import ChannelMoved
from coordinator.ledger.order_events import (
    BanLifted,
    ContributorBanned,
    ContributorQuarantined,
    QuarantineEnded,
    ReleasePromoted,
    ReleaseWithdrawn,
    ReleaseYanked,
)
from coordinator.orders.contributions import trunk_of
from coordinator.orders.decision import Compute, Done, Facts, Refuse
from coordinator.orders.kinds import (
    KINDS,
    EndQuarantine,
    LiftBan,
    MoveChannel,
    Order,
    Promoted,
    PublishSigned,
    Quarantine,
    Revert,
    Revoke,
    Withdrawn,
    Yank,
    as_json,
    order_of,
)
from coordinator.orders.rules import decide

ADA, MALLORY = "a" * 64, "b" * 64


def release(version: str, parent: str | None, **changes: Any) -> ReleaseRow:
    row = ReleaseRow(version, 1, parent, "b3:0", "b3:0", 1, "patch", "", None, None, None, 1, {})
    return replace(row, **changes)


def update(first: str, contributor: str, version: str | None, **changes: Any) -> UpdateRow:
    digest = "b3:" + first * 64
    state = "merged" if version else "rejected"
    row = UpdateRow(digest, contributor, first, 1, "b3:0", 1, 1, 1, state, "", version, 1.0, None, {}, [], 100, {})
    return replace(row, **changes)


RELEASES = (
    release("0.1.0", None, promoted_at_ms=1),
    release("0.1.1", "0.1.0", promoted_at_ms=2),
    release("0.1.2", "0.1.1"),
    release("0.1.3", "0.1.1"),
    release("0.1.4", "0.1.3", yanked="it forgets"),
)
UPDATES = (update("1", ADA, "0.1.1"), update("2", MALLORY, "0.1.2"), update("3", MALLORY, "0.1.3"))
SENT = (*UPDATES, update("4", MALLORY, None), update("5", MALLORY, "0.1.1", state="reverted", reverted_in="0.1.3"))
FACTS = Facts(
    RELEASES,
    {"nightly": "0.1.3", "stable": "0.1.1"},
    SENT,
    (ADA, MALLORY),
    updates_of={key: [row for row in SENT if row.contributor == key] for key in (ADA, MALLORY)},
)


def done(order: Order, facts: Facts = FACTS) -> Done:
    decision = decide(order, facts)
    assert isinstance(decision, Done), decision
    return decision


def refused(order: Order, facts: Facts = FACTS) -> str:
    decision = decide(order, facts)
    assert isinstance(decision, Refuse), decision
    return decision.reason


@pytest.mark.parametrize(
    "order",
    [
        MoveChannel("stable", "0.1.0", "slow"),
        Yank("0.1.0", None),
        Promoted("0.1.2"),
        Withdrawn("0.1.2"),
        PublishSigned("rotate"),
        Revert(("b3:12", "34"), "wrong", {"loss-text": "known"}),
        Revoke("ab", 5, "lies"),
        LiftBan("ab"),
    ],
    ids=lambda order: order.kind,
)
def test_an_order_is_kept_as_it_was_given(order: Order) -> None:
    assert order_of(as_json(order)) == order
    assert KINDS[order.kind] is type(order)


@pytest.mark.parametrize("value", [{}, {"kind": "burn"}, {"kind": "yank", "version": "0.1.0"}], ids=str)
def test_an_order_of_another_version_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(OrderRefusedError, match="knows no such order"):
        order_of(value)


def test_a_channel_moves_back_and_says_so() -> None:
    moved = done(MoveChannel("stable", "0.1.0", "it is slow"))
    assert moved.events == (ChannelMoved("stable", "0.1.1", "0.1.0", "it is slow"),)
    assert moved.reason == "channel stable moves back from 0.1.1 to 0.1.0: it is slow"
    assert "moves forward" in done(MoveChannel("stable", "0.1.1"), replace(FACTS, channels={"stable": "0.1.0"})).reason
    assert "the next round goes on from there" in done(MoveChannel("nightly", "0.1.2")).reason


def test_ordering_what_is_so_already_does_nothing() -> None:
    assert done(MoveChannel("stable", "0.1.1")).events == ()
    assert done(Yank("0.1.0", None)).events == ()
    assert done(Promoted("0.1.0")).events == ()


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (MoveChannel("weekly", "0.1.0"), "no channel weekly; channels: nightly, stable"),
        (MoveChannel("stable", "9.9.9"), "no release '9.9.9'"),
        (MoveChannel("stable", "0.1.2"), "0.1.2 was never promoted to stable; promoted are 0.1.0, 0.1.1"),
        (MoveChannel("nightly", "0.1.4"), "0.1.4 was yanked: it forgets"),
        (Yank("0.1.1", "bad"), "channel stable is at 0.1.1; move it first: barnraise rollback stable VERSION"),
        (Yank("9.9.9", "bad"), "no release '9.9.9'"),
        (Promoted("0.1.4"), "0.1.4 was yanked: it forgets"),
        (Promoted("9.9.9"), "no release '9.9.9'"),
        (Revert(("1" * 4,)), "too short"),
        (Revert(("7" * 10,)), "no update of this run begins with '7777777777'"),
        (Revert(("2" * 10,)), "was merged in 0.1.2, which the trunk does not go on from"),
        (Revert(("4" * 10,)), "is rejected, so it is in no release"),
        (Revert(("5" * 10,)), "was reverted in 0.1.3 already"),
        (Revoke("c" * 10, 0, "lies"), "no contributor of this run begins with 'cccccccccc'"),
        (Revoke("b", 0, "lies"), "too short"),
        (LiftBan("b" * 10), "no banned contributor"),
        (Yank("0.1.0", "x" * 1001), "the reason has 1,001 characters, at most 1,000 are kept"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_with_what_was_found(order: Order, words: str) -> None:
    assert words in refused(order)


def test_stable_has_nothing_to_go_back_to_before_the_first_promotion() -> None:
    facts = replace(FACTS, channels={"nightly": "0.1.3"})
    assert refused(MoveChannel("stable", "0.1.0"), facts) == "there is no channel stable; no release was promoted yet"


def test_yanking_marks_a_release_and_undoing_takes_the_mark_away() -> None:
    assert done(Yank("0.1.2", "it forgets")).events == (ReleaseYanked("0.1.2", "it forgets"),)
    assert done(Yank("0.1.4", None)).events == (ReleaseYanked("0.1.4", None),)
    assert "(it was: it forgets)" in done(Yank("0.1.4", "it forgets a lot")).reason


def test_a_promotion_moves_stable_forward_only() -> None:
    assert done(Promoted("0.1.2")).events == (
        ReleasePromoted("0.1.2"),
        ChannelMoved("stable", "0.1.1", "0.1.2", "promoted"),
    )
    first = replace(FACTS, channels={"nightly": "0.1.3"})
    assert done(Promoted("0.1.2"), first).events[1] == ChannelMoved("stable", None, "0.1.2", "promoted")
    older = replace(FACTS, channels={"stable": "0.1.3"})
    assert done(Promoted("0.1.2"), older).events == (ReleasePromoted("0.1.2"),)


def test_a_release_is_withdrawn_when_stable_does_not_point_at_it() -> None:
    assert done(Withdrawn("0.1.0")).events == (ReleaseWithdrawn("0.1.0"),)
    assert done(Withdrawn("0.1.2")).events == ()
    assert "channel stable is at 0.1.1; move it first" in refused(Withdrawn("0.1.1"))
    assert "no release" in refused(Withdrawn("9.9.9"))
    assert done(PublishSigned("rotate")).reason == "published what maintainers signed: rotate"


def test_a_revert_names_the_updates_it_leaves_out() -> None:
    order = Revert(("b3:" + "3" * 8, "1" * 8), "they lie", {"loss-text": "known"})
    assert decide(order, FACTS) == Compute(("b3:" + "1" * 64, "b3:" + "3" * 64), "they lie", {"loss-text": "known"})


def test_two_updates_that_begin_alike_need_more_digits() -> None:
    twin = update("3", ADA, "0.1.3", digest="b3:" + "3" * 63 + "4")
    facts = replace(FACTS, updates=(*FACTS.updates, twin))
    assert "2 begin with '333333': b3" not in refused(Revert(("333333",)), facts)
    assert "2 begin with '333333'" in refused(Revert(("333333",)), facts)
    assert isinstance(decide(Revert(("3" * 64,)), facts), Compute)


def test_revoking_bans_the_key_and_leaves_out_what_it_has_in_the_trunk_since_then() -> None:
    decision = decide(Revoke(MALLORY[:8], 50, "lies"), FACTS)
    assert isinstance(decision, Compute)
    assert decision.updates == ("b3:" + "3" * 64,)
    assert decision.events == (ContributorBanned(MALLORY, 50, "lies"),)
    later = done(Revoke(MALLORY, 101, "lies"))
    assert later.events == (ContributorBanned(MALLORY, 101, "lies"),)
    assert "the trunk has nothing that it sent since then" in later.reason


def test_a_key_is_banned_once_and_may_be_let_in_again() -> None:
    facts = replace(FACTS, bans={MALLORY: BanRow(MALLORY, 50, "lies", 60)})
    again = decide(Revoke(MALLORY, 50, "lies"), facts)
    assert isinstance(again, Compute)
    assert again.events == ()
    assert done(LiftBan(MALLORY[:10], "a mistake"), facts).events == (BanLifted(MALLORY, "a mistake"),)


def test_a_key_is_put_into_quarantine_once_and_let_out_once() -> None:
    found = done(Quarantine(MALLORY[:10], "too good"))
    assert found.events == (ContributorQuarantined(MALLORY, "too good"),)
    assert "measured and not merged" in found.reason
    held = replace(FACTS, quarantines={MALLORY: QuarantineRow(MALLORY, "too good", 60)})
    again = decide(Quarantine(MALLORY, "twice"), held)
    assert isinstance(again, Refuse)
    assert "already: too good" in again.reason
    assert done(EndQuarantine(MALLORY[:10], "it is"), held).events == (QuarantineEnded(MALLORY, "it is"),)
    banned = decide(Quarantine(MALLORY, "x"), replace(FACTS, bans={MALLORY: BanRow(MALLORY, 50, "lies", 60)}))
    assert isinstance(banned, Refuse)
    nobody = decide(EndQuarantine(MALLORY), FACTS)
    assert isinstance(nobody, Refuse)


def test_the_trunk_is_a_release_and_its_ancestors() -> None:
    assert [row.version for row in trunk_of(RELEASES, "0.1.4")] == ["0.1.0", "0.1.1", "0.1.3", "0.1.4"]
    assert trunk_of(RELEASES, None) == []


@settings(deadline=None)
@given(
    channel=st.sampled_from(["nightly", "stable"]),
    version=st.sampled_from([row.version for row in RELEASES]),
    at=st.sampled_from([row.version for row in RELEASES]),
)
def test_no_order_leaves_a_channel_at_a_yanked_release_or_stable_at_one_not_promoted(
    channel: str, version: str, at: str
) -> None:
    facts = replace(FACTS, channels={channel: at})
    by_version = facts.by_version
    for order in (MoveChannel(channel, version), Promoted(version)):
        decision = decide(order, facts)
        for event in decision.events if isinstance(decision, Done) else ():
            if isinstance(event, ChannelMoved):
                promoted = order.kind == "promoted" or by_version[event.new].promoted_at_ms is not None
                assert by_version[event.new].yanked is None
                assert event.channel != "stable" or promoted
    for row in RELEASES:
        decision = decide(Yank(row.version, "bad"), facts)
        assert isinstance(decision, Refuse) == (row.version == at)
