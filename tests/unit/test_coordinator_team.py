"""One update for a team, from the gateway's door into the ledger: all of it counts once, or nothing of it does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barnraise.digest import digest_bytes
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.narrate import short
from barnraise.protocol import Receipt
from barnraise.team_messages import TeamShare
from coordinator.contributors import contributor_lines, contributor_record
from coordinator.ledger.events import LeaseReleased, UpdateChecked, UpdateMerged
from coordinator.ledger.order_events import ContributorBanned
from coordinator.orders.kinds import Revoke
from coordinator.orders.settling import facts_for
from coordinator.story import update_story
from doorstep import ADA, BOB, START_MS, Answer, Doorstep, doorstep

EVE = Identity.from_seed(b"e" * 32)
TEAM, OWN = b"the team's update", b"what bob made alone"


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Doorstep]:
    with doorstep(tmp_path) as found:
        yield found


def share(lease: dict[str, Any], who: Identity, **changes: Any) -> Signed:
    told = {
        "run": "toy",
        "lease_id": lease["lease_id"],
        "round": lease["round"],
        "base_digest": lease["base_digest"],
        "size": 100,
        "tokens": 400,
        "examples": 4,
        "steps": 5,
        "norm": 1.0,
        "probes": (0.0, 1.0, 2.0, 3.0),
        "at_ms": START_MS,
    }
    return Signed.make(TeamShare(**(told | changes)), who)


class Pair:
    """Ada and Bob with a lease each; Ada sends for both."""

    def __init__(self, door: Doorstep) -> None:
        self.door = door
        self.ada, self.bob = door.leased(ADA), door.leased(BOB, "Bob")

    def envelope(self, *shares: Signed, data: bytes = TEAM, **changes: Any) -> Signed:
        team = shares or (share(self.ada, ADA), share(self.bob, BOB, tokens=600, examples=6, steps=3))
        return self.door.envelope(self.ada, data, ADA, team=team, **changes)

    def announce(self, *shares: Signed, **changes: Any) -> Answer:
        return self.door.post("/v1/updates", self.envelope(*shares, **changes))

    def send(self) -> Answer:
        assert self.announce().status == 200
        return self.door.put(TEAM, 0, TEAM)

    def bob_alone(self) -> Answer:
        return self.door.post("/v1/updates", self.door.envelope(self.bob, OWN, BOB))


def receipt_of(answer: Answer) -> Receipt:
    return Signed.read(answer.value["receipt"]).open(Receipt)


def test_every_member_has_the_credit_and_no_lease_is_left(door: Doorstep) -> None:
    assert receipt_of(Pair(door).send()).contributor == ADA.public
    ledger, digest = door.ledger, digest_bytes(TEAM)
    (row,) = ledger.updates()
    assert (row.digest, row.contributor, row.tokens, row.steps) == (digest, ADA.public, 1000, 5)
    assert [lease.update_digest for lease in ledger.leases(1)] == [digest, digest]
    assert ledger.members(digest) == {digest: tuple(sorted([ADA.public, BOB.public]))}
    mine = {one.contributor: (one.tokens, one.steps) for one in ledger.contributions(1)}
    assert mine == {ADA.public: (400, 5), BOB.public: (600, 3)}
    for who in (ADA, BOB):
        assert [one.digest for one in ledger.contributions_of(who.public, 9)] == [digest]
        assert contributor_record(ledger, who.public).updates_total == 1


def test_rankings_pages_and_releases_count_members(door: Doorstep) -> None:
    Pair(door).send()
    digest = digest_bytes(TEAM)
    sums = {one.contributor: one.tokens for one in door.ledger.pages.contributor_sums()}
    assert sums == {ADA.public: 400, BOB.public: 600}
    assert {line.contributor: line.updates for line in contributor_lines(door.ledger).contributors} == {
        ADA.public: {"received": 1},
        BOB.public: {"received": 1},
    }
    door.record(UpdateChecked(digest, 1, [1.0], "fine"), UpdateMerged(digest, 1, "0.1.1", 1000.0))
    counted = door.ledger.pages.merged()["0.1.1"]
    assert (counted.updates, counted.contributors, counted.size_bytes) == (1, 2, len(TEAM))
    assert door.ledger.pages.merged_by(["0.1.1"]) == {ADA.public: 1, BOB.public: 1}
    told = update_story(door.ledger, door.state.config, digest).happened[0].words
    assert f"for a team: {short(ADA.public)}, {short(BOB.public)}" in told
    facts = facts_for(Revoke(BOB.public, 0, "lies"), door.ledger)
    assert [row.digest for row in facts.updates_of[BOB.public]] == [digest]


def test_replaying_the_events_gives_the_same_shares(door: Doorstep) -> None:
    Pair(door).send()
    before = door.ledger.contributions(1), door.ledger.leases(1), door.ledger.updates()
    door.ledger.rebuild()
    assert (door.ledger.contributions(1), door.ledger.leases(1), door.ledger.updates()) == before


def test_a_member_that_comes_later_gets_the_receipt_of_the_teams_update(door: Doorstep) -> None:
    pair = Pair(door)
    pair.send()
    before = door.trace()
    receipt = receipt_of(pair.bob_alone())
    assert (receipt.update_digest, receipt.contributor) == (digest_bytes(TEAM), BOB.public)
    assert door.trace() == before


def test_the_team_that_comes_later_is_refused_and_its_sender_can_send_alone(door: Doorstep) -> None:
    pair = Pair(door)
    assert pair.bob_alone().status == 200
    assert receipt_of(door.put(OWN, 0, OWN)).update_digest == digest_bytes(OWN)
    before = door.trace()
    refused = pair.announce()
    assert (refused.status, refused.code) == (409, "replayed-message")
    assert door.trace() == before
    alone = door.post("/v1/updates", door.envelope(pair.ada, b"ada alone", ADA))
    assert alone.status == 200


@pytest.mark.parametrize("team_first", [True, False])
def test_of_two_that_are_announced_the_one_that_is_complete_first_counts(door: Doorstep, team_first: bool) -> None:
    pair = Pair(door)
    assert pair.announce().status == 200
    assert pair.bob_alone().status == 200
    first, second = (TEAM, OWN) if team_first else (OWN, TEAM)
    assert door.put(first, 0, first).status == 200
    late = door.put(second, 0, second)
    if team_first:
        assert receipt_of(late).update_digest == digest_bytes(TEAM)
        assert receipt_of(late).contributor == BOB.public
    else:
        assert (late.status, late.code) == (409, "replayed-message")
    assert [row.digest for row in door.ledger.updates()] == [digest_bytes(first)]
    assert not list(door.state.folder.staging.iterdir())


def test_nobody_else_gets_a_teams_receipt(door: Doorstep) -> None:
    pair = Pair(door)
    pair.send()
    stolen = door.post("/v1/updates", door.envelope(pair.bob, OWN, EVE))
    assert stolen.status == 410
    again = door.post("/v1/updates", door.envelope(pair.ada, b"another of ada's", ADA))
    assert again.code == "replayed-message"


def _forged(pair: Pair) -> list[Signed]:
    bob = share(pair.bob, BOB)
    return [share(pair.ada, ADA), bob.model_copy(update={"body": {**bob.body, "tokens": 600}})]


REFUSED: list[tuple[str, Any, dict[str, Any], str, str]] = [
    ("one", lambda p: [share(p.ada, ADA, tokens=1000, examples=10)], {}, "team", "names 1 members"),
    ("twice", lambda p: [share(p.ada, ADA)] * 2, {"tokens": 800, "examples": 8}, "team", "twice"),
    ("sender", lambda p: [share(p.bob, BOB), share(p.ada, EVE)], {}, "team", "own share must be among"),
    ("sums", lambda p: [share(p.ada, ADA), share(p.bob, BOB)], {}, "team", "its members' shares make 800, 8 and 5"),
    ("forged", _forged, {}, "bad-signature", "is not by key"),
    (
        "stolen",
        lambda p: [share(p.ada, ADA), share(p.bob, EVE, tokens=600, examples=6)],
        {},
        "lease",
        "names no lease of that member",
    ),
    (
        "run",
        lambda p: [share(p.ada, ADA), share(p.bob, BOB, tokens=600, examples=6, run="other")],
        {},
        "lease",
        "names no lease of that member in this run",
    ),
    (
        "round",
        lambda p: [share(p.ada, ADA), share(p.bob, BOB, tokens=600, examples=6, round=2)],
        {},
        "lease",
        "is for round 2",
    ),
    (
        "base",
        lambda p: [share(p.ada, ADA), share(p.bob, BOB, tokens=600, examples=6, base_digest="b3:" + "9" * 64)],
        {},
        "wrong-base",
        "its lease says 0.1.0",
    ),
    (
        "date",
        lambda p: [share(p.ada, ADA), share(p.bob, BOB, tokens=600, examples=6, at_ms=START_MS + 10**6)],
        {},
        "team",
        "set that one's clock",
    ),
]


@pytest.mark.parametrize(
    ("shares", "changes", "code", "words"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_what_does_not_hold_together_is_refused_whole(
    door: Doorstep, shares: Any, changes: dict[str, Any], code: str, words: str
) -> None:
    pair = Pair(door)
    before = door.trace()
    refused = pair.announce(*shares(pair), **changes)
    assert (refused.code, words in refused.value["error"]["reason"]) == (code, True), refused.body
    assert door.trace() == before


def test_a_ban_of_one_member_is_a_ban_on_the_whole_and_the_others_may_send_alone(door: Doorstep) -> None:
    pair = Pair(door)
    door.record(ContributorBanned(BOB.public, 0, "lies"))
    refused = pair.announce()
    assert (refused.status, refused.code) == (403, "banned")
    assert "of the team" in refused.value["error"]["reason"]
    assert door.post("/v1/updates", door.envelope(pair.ada, b"ada alone", ADA)).status == 200


def test_a_member_whose_lease_is_over_brings_the_teams_update_down(door: Doorstep) -> None:
    pair = Pair(door)
    door.now_ms += 5
    door.record(LeaseReleased(pair.bob["lease_id"], BOB.public, 1))
    refused = pair.announce()
    assert (refused.status, refused.code) == (410, "lease")


def test_what_members_state_is_counted_as_an_updates_would_be(door: Doorstep) -> None:
    pair = Pair(door)
    most = 10**9
    shares = share(pair.ada, ADA), share(pair.bob, BOB, tokens=most, examples=6)
    assert pair.announce(*shares, tokens=400 + most).status == 200
    assert door.put(TEAM, 0, TEAM).status == 200
    mine = {one.contributor: one.tokens for one in door.ledger.contributions(1)}
    assert mine[ADA.public] == 400
    assert mine[BOB.public] < most
    assert door.ledger.updates()[0].tokens == sum(mine.values())
