"""A team's update in a whole run: merged by the sum of its tokens, credited to all, undone with any of its members."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from barnraise.digest import digest_bytes
from barnraise.releases.card import Contributor as OnCard
from barnraise.releases.manifest import MergedUpdate
from coordinator.card import _contributors
from coordinator.contributors import contributor_lines
from coordinator.ledger.events import UpdateReceived
from coordinator.orders import Order, Quarantine, Revoke
from coordinator.orders.placing import append
from simulator import Contributor, Simulation, tiny_config

LENIENT = {
    "check_examples": 16,
    "check_margin": 60.0,
    "tests": [{"name": "loss-text", "kind": "loss", "shard": "text", "examples": 24, "margin": 8.0}],
}
ROUNDS = {"target_updates": 2, "min_updates": 1, "collect_for_s": 60, "settle_for_s": 5, "lease_for_s": 60}


class Team:
    """Ada sends for herself and Bob; Grace sends alone."""

    def __init__(self, root: Path) -> None:
        self.run = Simulation(root, tiny_config(round=ROUNDS, acceptance=LENIENT, merge={"weight_by": "tokens"}))
        self.ada, self.bob = self.run.contributor("ada"), self.run.contributor("bob", "tools")
        self.grace = self.run.contributor("grace", "tools")

    def sends(self) -> str:
        """The average of both, as the gateway records it."""
        leases = [self.ada.takes_lease(), self.bob.takes_lease()]
        mean_P = (np.float32(1) * self.ada.trained() + np.float32(3) * self.bob.trained()) / np.float32(4)
        return self._recorded(leases, self.ada.encoded(mean_P))

    def _recorded(self, leases: list[str], data: bytes) -> str:
        run, digest = self.run, self.run.desk.private.put(data)
        lease = run.ledger.lease(leases[0])
        assert lease is not None
        shares: list[dict[str, Any]] = [
            {"contributor": who.identity.public, "lease_id": lease_id, "tokens": tokens, "steps": 8}
            for who, lease_id, tokens in zip((self.ada, self.bob), leases, (1000, 3000), strict=True)
        ]
        envelope = {"body": {"nonce": digest_bytes(data)[3:35], "at_ms": run.clock()}}
        received = UpdateReceived(
            digest,
            self.ada.identity.public,
            leases[0],
            lease.round,
            lease.base_digest,
            len(data),
            4000,
            8,
            envelope,
            shares,
        )
        run.ledger.record(received, at_ms=run.clock())
        return digest

    def orders(self, order: Order) -> None:
        order_id = append(self.run.ledger, order, self.run.clock())
        self.run.ticks(200)
        row = self.run.ledger.order(order_id)
        assert row is not None
        assert row.done, row.reason


def state_of(team: Team, digest: str) -> tuple[str, str]:
    row = team.run.ledger.update(digest)
    assert row is not None
    return row.state, row.reason or ""


def keys(*people: Contributor) -> set[str]:
    return {one.identity.public for one in people}


def test_it_is_merged_by_the_sum_of_its_tokens_and_both_are_credited(tmp_path: Path) -> None:
    team = Team(tmp_path)
    digest, alone = team.sends(), team.grace.delivers()
    team.run.runs_until("released")
    rows = {row.digest: row for row in team.run.ledger.updates()}
    assert (rows[digest].state, rows[digest].weight, rows[alone].weight) == ("merged", 4000.0, 1000.0)
    lines = {line.contributor: line for line in contributor_lines(team.run.ledger).contributors}
    assert lines[team.bob.identity.public].updates == {"merged": 1}
    assert (lines[team.ada.identity.public].tokens, lines[team.bob.identity.public].tokens) == (1000, 3000)
    assert lines[team.ada.identity.public].place == lines[team.bob.identity.public].place
    card: list[OnCard] = _contributors(team.run.ledger, _merged(team, digest, alone))
    assert {one.key for one in card} == keys(team.ada, team.bob, team.grace)


def _merged(team: Team, *digests: str) -> Any:
    rows = [team.run.ledger.update(digest) for digest in digests]
    return [
        MergedUpdate(digest=row.digest, contributor=row.contributor, weight=1.0, size_bytes=row.size_bytes)
        for row in rows
        if row is not None
    ]


def test_a_quarantine_of_one_member_holds_the_whole_back(tmp_path: Path) -> None:
    team = Team(tmp_path)
    team.run.ticks()
    team.run.contributor("bob").takes_lease()  # so that the run knows him
    team.orders(Quarantine(team.bob.identity.public, "too good"))
    lease = team.ada.takes_lease()
    theirs = next(row for row in team.run.ledger.leases(1) if row.contributor == team.bob.identity.public)
    digest = team._recorded([lease, theirs.lease_id], team.ada.encoded(team.ada.trained()))
    team.grace.delivers()
    team.run.ticks()
    team.run.passes(6)
    team.run.runs_until("released")
    state, reason = state_of(team, digest)
    assert state == "unmerged"
    assert "in quarantine: too good" in reason


def test_revoking_one_member_takes_the_whole_out_of_the_trunk(tmp_path: Path) -> None:
    team = Team(tmp_path)
    digest = team.sends()
    team.grace.delivers()
    team.run.runs_until("released")
    team.orders(Revoke(team.bob.identity.public, 0, "it lies"))
    assert state_of(team, digest)[0] == "reverted"


def test_a_ban_of_one_member_turns_the_whole_away_before_it_is_merged(tmp_path: Path) -> None:
    team = Team(tmp_path)
    digest = team.sends()
    team.run.ticks(1)
    team.orders(Revoke(team.bob.identity.public, 0, "it lies"))
    state, reason = state_of(team, digest)
    assert state == "rejected"
    assert "is banned: it lies" in reason
