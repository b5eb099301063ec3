"""A node and its team: it averages and sends, holds its own back, or goes alone; nothing is lost or sent twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.errors import ReplayedMessageError
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.protocol import Lease, LeaseRequest, Receipt, UpdateEnvelope, UploadStatus
from barnraise.swarm.team_checks import stated
from barnraise.team_messages import TeamShare
from barnraise.update_config import CodecConfig
from contributor.events import Carried, Fate, Finished, Notice, Received
from contributor.folder import NodeFolder
from contributor.history import Journal, read_history
from contributor.interrupt import Interrupt
from contributor.state import SentUpdate
from contributor.swarm.around import Swarm
from contributor.swarm.status import SwarmTally
from contributor.swarm.teamwork import HOLD_S, Alone, Share, Teamwork, Window, window_of
from node_world import ME, World
from pretend_team import PretendTeam

EVERYBODY = [Identity.from_seed(bytes([seed] * 32)) for seed in range(1, 60)]
AFTER_ME = next(one for one in EVERYBODY if one.public > ME.public)
BEFORE_ME = next(one for one in EVERYBODY if one.public < ME.public)


def lone(tmp_path: Path) -> World:
    folder = NodeFolder.of(tmp_path, "tiny", ME.public)
    folder.root.mkdir(parents=True, exist_ok=True)
    return World(folder)


def in_team(tmp_path: Path, team: PretendTeam) -> World:
    world = lone(tmp_path)
    work = Teamwork("tiny", ME, team, lambda: world.gateway.now_ms, 30.0, SwarmTally("team"))
    world.swarm = Swarm(team=work, tally=work.tally)
    return world


def sent(world: World) -> UpdateEnvelope:
    """The one envelope whose update was received."""
    (digest,) = world.gateway.received
    return world.gateway.envelopes[digest][1]


def notices(world: World) -> str:
    return " | ".join(event.text for event in world.events if isinstance(event, Notice))


def team_of(world: World) -> dict[str, Any]:
    return dict(world.swarm.tally.now().team or {})


# -- the leader ------------------------------------------------------------------------------------


def test_the_smallest_key_sends_the_average_with_every_member_in_the_envelope(tmp_path: Path) -> None:
    team = PretendTeam(AFTER_ME)
    world = in_team(tmp_path, team)
    assert world.process() == "1 of 1 units done"
    envelope = sent(world)
    shares = [one.open(TeamShare) for one in envelope.team]
    assert [one.key for one in envelope.team] == [ME.public, AFTER_ME.public]
    own, theirs = shares
    assert (envelope.tokens, envelope.examples) == (own.tokens + theirs.tokens, own.examples + theirs.examples)
    assert (envelope.steps, envelope.lease_id) == (own.steps, own.lease_id)
    (together,) = team.begun
    assert (own.norm, own.probes) == stated(together, world.trained(1))
    assert team.vector_P is not None
    np.testing.assert_array_equal(team.vector_P, world.trained(1))
    state = world.folder.load()
    (residual,) = state.residuals
    left_P = world.folder.vector(residual, together.size)
    mean_P = (own.tokens * world.trained(1) + theirs.tokens * team.theirs(together)) / (own.tokens + theirs.tokens)
    np.testing.assert_allclose(world.said(envelope.update_digest) + left_P, mean_P, rtol=0, atol=1e-8)
    assert state.outbox == ()
    assert team_of(world)["averaged"] == 1
    assert "averaged with 1 other member of the team" in notices(world)
    assert "this machine sends" in notices(world)


@pytest.mark.parametrize("turns", [None, 4])
def test_a_residual_is_the_senders_own_and_goes_out_at_full_size(tmp_path: Path, turns: int | None) -> None:
    team = PretendTeam(AFTER_ME)
    world = in_team(tmp_path, team)
    if turns is not None:  # the average is of all elements, and what has its turn of it is sent
        world.gateway.codec, world.gateway.kind = CodecConfig(name="blockwise", bits=1), {"turns": turns}
    world.process()
    (first,) = world.folder.load().residuals
    residual_P = np.array(world.folder.vector(first, team.begun[0].size))
    world.gateway.round = 2
    world.process()
    _, second = world.gateway.received
    (last,) = world.folder.load().residuals
    shares = [one.open(TeamShare) for one in world.gateway.envelopes[second][1].team]
    own, theirs = (share.tokens for share in shares)
    assert team.vector_P is not None
    mean_P = (own * team.vector_P + theirs * team.theirs(team.begun[1])) / (own + theirs)
    left_P = world.folder.vector(last, team.begun[1].size)
    assert 0 < np.count_nonzero(world.said(second)) <= len(left_P) / (turns or 1) + len(left_P) // 100
    np.testing.assert_allclose(world.said(second) + left_P, mean_P + residual_P, rtol=0, atol=1e-7)


def test_a_teams_update_that_is_not_taken_gives_way_to_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_team(tmp_path, PretendTeam(AFTER_ME))
    announce = world.gateway._announce

    def no_teams(signed: Signed) -> UploadStatus:
        if signed.open(UpdateEnvelope).team:
            raise ReplayedMessageError("a member of the team already brought something")
        return announce(signed)

    monkeypatch.setattr(world.gateway, "_announce", no_teams)
    assert world.process() == "1 of 1 units done"
    assert sent(world).team == ()
    digest = sent(world).update_digest
    np.testing.assert_allclose(
        world.said(digest) + world.folder.vector(world.folder.load().residuals[0], world.gateway.bases.space.size),
        world.trained(1),
        rtol=0,
        atol=1e-8,
    )
    (carried,) = [event for event in world.events if isinstance(event, Carried)]
    assert carried.by == digest
    assert "was not taken" in carried.reason
    assert not [event for event in world.events if isinstance(event, Fate)]


# -- the others ------------------------------------------------------------------------------------


def test_a_follower_holds_its_own_back_and_sends_it_when_nothing_of_the_team_comes(tmp_path: Path) -> None:
    world = in_team(tmp_path, PretendTeam(BEFORE_ME))

    def time_goes_by(seconds: float, _interrupt: object) -> None:
        assert not world.gateway.received
        world.gateway.now_ms += int(1000 * seconds)

    world.on_sleep = time_goes_by
    began_ms = world.gateway.now_ms
    assert world.process() == "1 of 1 units done"
    assert world.gateway.now_ms - began_ms >= 1000 * HOLD_S
    assert sent(world).team == ()
    assert f"member {BEFORE_ME.public[:8]} sends" in notices(world)
    assert world.folder.load().outbox == ()


class TeamIsThere:
    """The coordinator has the team's update; a member's announcement is answered with the receipt of that."""

    digest = "b3:" + "7" * 64

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        monkeypatch.setattr(world.gateway, "_announce", self.announce)

    def announce(self, signed: Signed) -> UploadStatus:
        gateway, envelope = self.world.gateway, signed.open(UpdateEnvelope)
        gateway.served.add((signed.key, envelope.round))
        receipt = Receipt(
            run="tiny",
            update_digest=self.digest,
            contributor=signed.key,
            round=envelope.round,
            size_bytes=9,
            received_at_ms=gateway.now_ms,
        )
        gateway.envelopes[self.digest] = signed.key, envelope
        gateway.received[self.digest] = b"the team's"
        return UploadStatus(digest=self.digest, offset=9, size_bytes=9, receipt=Signed.make(receipt, gateway.identity))


def test_a_follower_drops_its_own_for_the_receipt_of_the_teams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = in_team(tmp_path, PretendTeam(BEFORE_ME, alone="nobody yet"))
    world.process()
    before = world.folder.load()
    assert before.residuals
    world.swarm = in_team(tmp_path, PretendTeam(BEFORE_ME)).swarm
    world.gateway.round = 2
    world.on_sleep = lambda seconds, _interrupt: _pass(world, seconds)
    TeamIsThere(world, monkeypatch)
    assert world.process() == "1 of 1 units done"
    after = world.folder.load()
    assert after.outbox == ()
    assert after.residuals == before.residuals
    assert after.moments != before.moments
    assert after.sent[-1] == SentUpdate(digest=TeamIsThere.digest, round=2, foreign=True)
    assert Received(TeamIsThere.digest, 2) in world.events
    world.gateway.decide(TeamIsThere.digest, "unmerged", fold_back=True)
    world.gateway.round = 3
    world.process()
    assert TeamIsThere.digest not in world.folder.load().to_fold


def _pass(world: World, seconds: float) -> None:
    world.gateway.now_ms += int(1000 * seconds)


def test_history_knows_a_unit_by_the_update_that_carries_it(tmp_path: Path) -> None:
    journal, path = Journal(tmp_path / "history"), tmp_path / "history"
    own, team = "b3:" + "1" * 64, "b3:" + "2" * 64
    journal.note(Finished(own, 1, "0.1.0", "text", 8, 100, 1.0, 8.0, 7.0), 5)
    journal.note(Carried(own, team, "with the team's"), 6)
    journal.note(Received(team, 1), 7)
    journal.note(Fate(team, "merged", "merged in 0.1.1", "0.1.1"), 8)
    (line,) = read_history(path)
    assert (line.digest, line.state, line.version, line.tokens) == (team, "merged", "0.1.1", 100)


def test_once_the_lease_has_brought_something_a_follower_does_not_wait_for_the_end_of_its_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_team(tmp_path, PretendTeam(BEFORE_ME))
    world.on_sleep = lambda seconds, _interrupt: _pass(world, seconds)
    there = TeamIsThere(world, monkeypatch)
    began_ms = world.gateway.now_ms

    def team_comes(event: object, interrupt: Interrupt) -> None:
        if isinstance(event, Finished):
            world.gateway.served.add((ME.public, 1))
        if isinstance(event, Received):
            world.gateway.round = 2
            interrupt.stop = True

    world.on_event = team_comes
    world.process(max_units=5)
    assert Received(there.digest, 1) in world.events
    assert world.gateway.now_ms - began_ms < 1000 * HOLD_S


# -- alone -----------------------------------------------------------------------------------------


def test_what_goes_wrong_costs_the_average_and_never_the_unit(tmp_path: Path) -> None:
    def nan(result_P: Any) -> Any:
        result_P[3] = np.nan
        return result_P

    for number, (team, words) in enumerate(
        [
            (PretendTeam(AFTER_ME, alone="no other member of the team trains"), "no other member"),
            (PretendTeam(AFTER_ME, spoil=nan), "NaN"),
            (PretendTeam(AFTER_ME, spoil=lambda result_P: result_P[:-1]), "elements"),
            (PretendTeam(AFTER_ME, spoil=lambda result_P: 0 * result_P), "is not the average"),
            (PretendTeam(ME), "twice"),
        ]
    ):
        world = in_team(tmp_path / str(number), team)
        assert world.process() == "1 of 1 units done"
        assert sent(world).team == ()
        assert words in notices(world)
        assert "this machine sends its own update" in notices(world)
        assert (team_of(world)["averaged"], team_of(world)["alone"]) == (0, 1)
        assert words in team_of(world)["last"]


def test_a_nan_of_ones_own_is_not_handed_on(tmp_path: Path) -> None:
    team = PretendTeam(AFTER_ME)
    world = in_team(tmp_path, team)
    work = world.swarm.team
    assert work is not None
    lease = world_lease(world)
    found = work.average(Share(lease, np.array([1.0, np.inf], dtype=np.float32), 5, 1, 1))
    assert isinstance(found, Alone)
    assert "one's own change" in found.reason
    assert team.windows == []


def world_lease(world: World) -> Any:
    request = LeaseRequest(run="tiny", name="ada", nonce="0" * 32, at_ms=world.gateway.now_ms)
    answer = world.gateway._lease(Signed.make(request, ME))
    assert answer.lease is not None
    return answer.lease.open(Lease)


def test_who_has_no_team_sends_as_always(tmp_path: Path) -> None:
    world = lone(tmp_path)
    world.process()
    assert sent(world).team == ()
    assert notices(world) == ""


@pytest.mark.parametrize(
    ("left_s", "wait_s", "expected"),
    [(600.0, 30.0, (30.0, 570.0)), (60.0, 30.0, (15.0, 30.0)), (600.0, 0.0, (0.0, 570.0))],
)
def test_averaging_leaves_time_to_send(left_s: float, wait_s: float, expected: tuple[float, float]) -> None:
    until_ms = 5 + int(1000 * left_s)
    assert window_of(until_ms, 5, wait_s) == Window(*expected, until_ms)


@pytest.mark.parametrize("left_s", [-5.0, 0.0, 39.0])
def test_a_lease_that_is_nearly_over_leaves_none_for_a_team(left_s: float) -> None:
    found = window_of(int(1000 * left_s), 0, 30.0)
    assert isinstance(found, Alone)
    assert "the lease has" in found.reason
