"""A team's sidecars under hivemind itself: vectors are averaged exactly, strangers stay outside, and who is killed
costs the others an average and nothing else.

Three sidecars serve all of it: two of one team, and one that knows their addresses and has another key.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from barnraise.errors import SwarmError
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.protocol import Lease, LeaseRequest
from barnraise.swarm.process import Sidecar
from barnraise.swarm.team_key import TeamKey
from contributor.interrupt import Interrupt
from contributor.swarm.status import SwarmTally
from contributor.swarm.team_exchange import SidecarExchange
from contributor.swarm.teamwork import Alone, Averaged, Share, Teamwork, window_of
from pretend_gateway import PretendGateway
from processes import until

READY_S = 120.0
SIZE = 200_003
LEASE_S = 300


@dataclass
class Machine:
    """A member's machine: its sidecar, and what its node does with it."""

    sidecar: Sidecar
    exchange: SidecarExchange
    work: Teamwork
    said: list[str]
    found: list[Averaged | Alone] = field(default_factory=list)

    def lease(self, round_number: int) -> Lease:
        gateway = PretendGateway(now_ms=_now_ms(), round=round_number, lease_for_ms=1000 * LEASE_S)
        answer = gateway._lease(Signed.make(_request(gateway), self.work.identity))
        assert answer.lease is not None
        return answer.lease.open(Lease)

    def averages(self, round_number: int, vector_P: NDArray[np.float32], tokens: int) -> threading.Thread:
        """Average in a thread, which is returned; what came of it is the last of ``found``."""
        unit = Share(self.lease(round_number), vector_P, tokens, 8, 2)

        def run() -> None:
            self.found.append(self.work.average(unit))

        thread = threading.Thread(target=run)
        thread.start()
        return thread


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    """Two members, and a stranger who has their addresses and the key of another team."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))
        made: list[Machine] = []
        for number, key in enumerate((b"k" * 32, b"k" * 32, b"x" * 32)):
            made.append(_machine(tmp_path_factory.mktemp(f"m{number}"), number, TeamKey(key), made))
            if number == 0:
                assert made[0].sidecar.wait_ready(READY_S)
        yield made
        for machine in made:
            machine.sidecar.stop()


def _machine(folder: Path, number: int, key: TeamKey, others: list[Machine]) -> Machine:
    secrets, identity = key.secrets_for("tiny", "friends"), Identity.from_seed(bytes([number + 1] * 32))
    bootstrap = [address for other in others[:1] for address in (other.sidecar.state.facts or {})["addresses"]]

    def settings() -> dict[str, object]:
        words = {"access": secrets.access.hex(), "words": secrets.words.hex()}
        return {"host": {"bootstrap": bootstrap}, "member": identity.public, **words}

    said: list[str] = []
    sidecar = Sidecar("team", settings, folder / "team.log", said.append)
    sidecar.start()
    exchange = SidecarExchange(sidecar, secrets, folder, identity.public, Interrupt(time.sleep), said.append)
    return Machine(sidecar, exchange, Teamwork("tiny", identity, exchange, _now_ms, 20.0, SwarmTally("team")), said)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _request(gateway: PretendGateway) -> LeaseRequest:
    return LeaseRequest(run="tiny", name="ada", nonce="0" * 32, at_ms=gateway.now_ms)


def vector(seed: int, size: int = SIZE) -> NDArray[np.float32]:
    return (1e-3 * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


def begins(machine: Machine, round_number: int, place_size: int = SIZE) -> None:
    """The machine says that it trains, and the saying is over when this returns."""
    lease = machine.lease(round_number)
    machine.exchange._begin(machine.work._together(lease, place_size), lease.expires_at_ms)


def test_two_members_have_the_exact_weighted_mean_and_each_others_shares(machines: list[Machine]) -> None:
    ada, bob, _ = machines
    assert bob.sidecar.wait_ready(READY_S)
    begins(ada, 1)
    begins(bob, 1)
    mine_P, theirs_P = vector(1), vector(2)
    threads = [ada.averages(1, mine_P, 100), bob.averages(1, theirs_P, 300)]
    for thread in threads:
        thread.join()
    wanted_P = (100 * mine_P.astype(np.float64) + 300 * theirs_P.astype(np.float64)) / 400
    for machine in (ada, bob):
        found = machine.found[-1]
        assert isinstance(found, Averaged), found
        np.testing.assert_allclose(found.vector_P, wanted_P, rtol=0, atol=2e-9)
        assert [member.share.tokens for member in found.members] == _by_key(ada, bob, 100, 300)
    assert [_average_of(machine).leads for machine in (ada, bob)].count(True) == 1
    assert not list(ada.exchange.folder.glob("team-*"))


def _average_of(machine: Machine) -> Averaged:
    found = machine.found[-1]
    assert isinstance(found, Averaged)
    return found


def _by_key(ada: Machine, bob: Machine, mine: int, theirs: int) -> list[int]:
    pairs = [(ada.work.identity.public, mine), (bob.work.identity.public, theirs)]
    return [tokens for _, tokens in sorted(pairs)]


def test_a_wrong_team_key_gets_nobody_in(machines: list[Machine]) -> None:
    ada, _, eve = machines
    assert eve.sidecar.wait_ready(READY_S)
    facts = ada.sidecar.state.facts or {}
    assert eve.sidecar.ask("meet", 60.0, addresses=facts["addresses"])["met"] == []
    secrets = TeamKey(b"k" * 32).secrets_for("tiny", "friends")
    place = secrets.place("members", "anything")  # even with the name of a place that only members can tell
    until_ms = _now_ms() + 60_000
    assert ada.sidecar.ask("tell", 30.0, place=place, doing="training", until_ms=until_ms)["told"]
    assert ada.work.identity.public in ada.sidecar.ask("members", 30.0, place=place)["members"]
    assert eve.sidecar.ask("members", 30.0, place=place)["members"] == {}
    eve.sidecar.ask("tell", 30.0, place=place, doing="ready", until_ms=until_ms)
    assert eve.work.identity.public not in ada.sidecar.ask("members", 30.0, place=place)["members"]
    eve.averages(2, vector(3), 10).join()
    found = eve.found[-1]
    assert isinstance(found, Alone)
    assert "no other member of the team" in found.reason


def test_a_team_of_one_and_a_member_with_another_shape_go_alone_at_once(machines: list[Machine]) -> None:
    ada, bob, _ = machines
    threads = [ada.averages(3, vector(4), 10), bob.averages(3, vector(5, SIZE + 1), 10)]
    for thread in threads:
        thread.join()
    for machine in (ada, bob):
        found = machine.found[-1]
        assert isinstance(found, Alone)
        assert "no other member of the team" in found.reason


def test_a_member_whose_vector_is_not_what_it_states_spoils_the_average_and_no_update(machines: list[Machine]) -> None:
    ada, bob, _ = machines
    begins(ada, 4)
    begins(bob, 4)
    broken_P = vector(6)
    broken_P[7] = np.nan
    unit = Share(bob.lease(4), vector(6), 10, 8, 2)
    together = bob.work._together(unit.lease, SIZE)
    share = bob.work._share(unit, together)
    window = window_of(unit.lease.expires_at_ms, _now_ms(), 20.0)
    assert not isinstance(window, Alone)
    thread = ada.averages(4, vector(7), 10)
    bob.exchange.average(together, broken_P, share, window)
    thread.join()
    found = ada.found[-1]
    assert isinstance(found, Alone)
    assert "NaN" in found.reason


def test_members_find_each_other_through_the_open_swarm_alone(machines: list[Machine], tmp_path: Path) -> None:
    ada = machines[0]
    peers = Sidecar("peers", lambda: {"meeting": {}}, tmp_path / "peers.log", print)
    peers.start()
    grace = _machine(tmp_path, 8, TeamKey(b"k" * 32), [])
    try:
        assert peers.wait_ready(READY_S)
        assert grace.sidecar.wait_ready(READY_S)
        secrets = TeamKey(b"k" * 32).secrets_for("tiny", "friends")
        place = secrets.place("members", "the open swarm")
        assert ada.sidecar.ask("tell", 30.0, place=place, doing="training", until_ms=_now_ms() + 60_000)["told"]
        assert grace.sidecar.ask("members", 30.0, place=place)["members"] == {}
        for machine in (ada, grace):
            machine.exchange.peers = peers
            machine.exchange._meet()
            machine.exchange.peers = None
        assert ada.work.identity.public in grace.sidecar.ask("members", 30.0, place=place)["members"]
    finally:
        grace.sidecar.stop()
        peers.stop()


def test_a_member_that_is_killed_while_averaging_costs_the_others_the_average(machines: list[Machine]) -> None:
    ada, bob, _ = machines
    begins(ada, 5)
    begins(bob, 5)
    size = 12_000_000  # takes long enough to be in the middle of
    large_P = vector(8, size)
    threads = [ada.averages(5, large_P, 10), bob.averages(5, large_P, 10)]
    until(lambda: list(bob.exchange.folder.glob("team-*.mine")), "a vector to be given")
    place = _is_moving(ada, 5, size)
    until(lambda: set(place()) == {"ready"}, "both to be ready")
    pid = bob.sidecar.state.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    for machine in (ada, bob):
        assert isinstance(machine.found[-1], Alone), machine.found[-1]
    assert any("killed by signal 9" in sentence for sentence in bob.said)
    until(lambda: bob.sidecar.state.doing == "ready", "the sidecar of the one that was killed", READY_S)


def _is_moving(machine: Machine, round_number: int, size: int) -> Callable[[], list[str]]:
    """What the members of an average say that they do."""
    place = machine.exchange._place(machine.work._together(machine.lease(round_number), size))

    def doings() -> list[str]:
        try:
            members = machine.sidecar.ask("members", 30.0, place=place)["members"]
        except SwarmError:
            return []
        return [said["doing"] for said in members.values()] if len(members) == 2 else []

    return doings


def test_after_a_kill_the_members_find_each_other_again_and_average(machines: list[Machine]) -> None:
    ada, bob, _ = machines
    assert bob.sidecar.wait_ready(READY_S)
    begins(ada, 6)
    begins(bob, 6)
    threads = [ada.averages(6, vector(9), 10), bob.averages(6, vector(10), 10)]
    for thread in threads:
        thread.join()
    assert [type(machine.found[-1]) for machine in (ada, bob)] == [Averaged, Averaged], [ada.found[-1], bob.found[-1]]


def test_a_stop_ends_the_waiting(machines: list[Machine]) -> None:
    ada, bob, _ = machines
    begins(ada, 7)
    begins(bob, 7)
    interrupt = ada.exchange.interrupt
    thread = ada.averages(7, vector(11), 10)
    interrupt.terminate()
    thread.join()
    interrupt.stop = interrupt.finish = False
    found = ada.found[-1]
    assert isinstance(found, Alone)
    assert "a stop was asked for" in found.reason
