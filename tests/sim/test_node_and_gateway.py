"""Real nodes at a real gateway, in one process: leases given back, one key in two places, updates that wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from barnraise.errors import UnreachableError
from barnraise.identity import Identity
from barnraise.protocol import Lease, RunInfo
from contributor.base import Base
from contributor.client import GatewayClient
from contributor.events import NodeEvent, Notice, Step, Waiting
from contributor.folder import NodeFolder
from contributor.interrupt import Interrupt
from contributor.node import Node
from contributor.parts import Parts
from contributor.patience import Patience
from contributor.transport import Answer
from contributor.whereabouts import Whereabouts
from doorstep import ADA, Doorstep, doorstep
from pretend_gateway import MODEL, PretendBases

BASES = PretendBases()


@dataclass
class Person:
    """Somebody's machine, with one node at a time."""

    door: Doorstep
    folder: NodeFolder
    identity: Identity = ADA
    events: list[NodeEvent] = field(default_factory=list)
    on_event: Callable[[NodeEvent, Interrupt], None] = lambda _event, _interrupt: None
    away: bool = False

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer:
        if self.away:
            raise UnreachableError("the connection was refused")
        answer = self.door.call(method, path, body or b"")
        return Answer(answer.status, answer.body)

    def fetch(self, lease: Lease) -> Base:
        return Base(lease.base_version, MODEL, BASES.space, np.array(BASES.flat_P), 0)

    def joins(self, max_units: int | None = 1) -> str:
        interrupt = Interrupt(self._sleeps)

        def report(event: NodeEvent) -> None:
            self.events.append(event)
            self.on_event(event, interrupt)

        client = GatewayClient(self)
        info = RunInfo.read(self.door.call("GET", "/v1/run").value)
        patience = Patience(Whereabouts("http://door"), interrupt, report, jitter=lambda: 0.5)
        device, now = torch.device("cpu"), lambda: self.door.now_ms
        parts = Parts("ada", self.identity, client, self, self.folder, patience, device, now, lambda: 0.0)
        return Node(info, parts).run(max_units)

    def _sleeps(self, seconds: float) -> None:
        self.door.now_ms += round(1000 * seconds)

    def said(self, kind: type[NodeEvent]) -> list[str]:
        return [event.line() for event in self.events if isinstance(event, kind)]


@pytest.fixture(name="door")
def _door(tmp_path: Path) -> Iterator[Doorstep]:
    with doorstep(tmp_path / "run") as opened:
        yield opened


def person(door: Doorstep, tmp_path: Path, name: str) -> Person:
    (tmp_path / name).mkdir()
    return Person(door, NodeFolder(tmp_path / name))


def test_an_update_reaches_the_ledger(door: Doorstep, tmp_path: Path) -> None:
    ada = person(door, tmp_path, "ada")
    assert ada.joins() == "1 of 1 units done"
    (row,) = door.ledger.updates()
    assert [update.digest for update in ada.folder.load().sent] == [row.digest]


def test_who_leaves_frees_the_lease_and_may_come_back(door: Doorstep, tmp_path: Path) -> None:
    ada = person(door, tmp_path, "ada")
    ada.on_event = lambda event, interrupt: interrupt.ask_leave() if isinstance(event, Step) else None
    assert "the lease was given back" in ada.joins()
    assert "the lease of round 1 ends now" in ada.said(Notice)[-1]
    assert door.ledger.open_leases(1, door.now_ms) == []
    ada.on_event = lambda _event, _interrupt: None
    assert ada.joins() == "1 of 1 units done"
    first, second = door.ledger.leases(1)
    assert (first.update_digest, second.update_digest) == (None, door.ledger.updates()[0].digest)


def test_a_second_machine_with_the_same_key_waits_and_then_works(door: Doorstep, tmp_path: Path) -> None:
    ada, copy = person(door, tmp_path, "ada"), person(door, tmp_path, "copy")
    ada.on_event = lambda event, interrupt: interrupt.terminate() if isinstance(event, Step) else None
    assert ada.joins() == "asked to stop"
    assert copy.joins() == "1 of 1 units done"
    assert "another node with this key holds the lease of round 1" in copy.said(Waiting)[0]
    assert not any("another node" in line for line in ada.said(Waiting))


def test_the_same_machine_gets_its_lease_again_and_goes_on(door: Doorstep, tmp_path: Path) -> None:
    ada = person(door, tmp_path, "ada")
    ada.on_event = lambda event, interrupt: interrupt.terminate() if isinstance(event, Step) else None
    ada.joins()
    ada.on_event = lambda _event, _interrupt: None
    assert ada.joins() == "1 of 1 units done"
    assert len(door.ledger.leases(1)) == 1
    assert any("continuing a unit after step 1" in line for line in ada.said(Notice))


def test_an_update_finished_while_the_coordinator_was_away_arrives_in_time(door: Doorstep, tmp_path: Path) -> None:
    ada = person(door, tmp_path, "ada")

    def on_event(event: NodeEvent, interrupt: Interrupt) -> None:
        if event.kind == "finished":
            ada.away = True
        elif event.kind == "waiting" and len(ada.said(Waiting)) > 3:
            ada.away = False

    ada.on_event = on_event
    assert ada.joins() == "1 of 1 units done"
    assert len(ada.said(Waiting)) == 4
    assert len(door.ledger.updates()) == 1


def test_an_update_that_comes_after_its_lease_is_told_so_and_work_goes_on(door: Doorstep, tmp_path: Path) -> None:
    ada = person(door, tmp_path, "ada")

    def on_event(event: NodeEvent, _interrupt: Interrupt) -> None:
        if event.kind == "finished" and not door.ledger.leases(1)[1:]:
            door.now_ms += 21_000

    ada.on_event = on_event
    assert ada.joins() == "1 of 1 units done"
    (fate,) = [event for event in ada.events if event.kind == "fate"]
    assert "expired 1 s ago; ask for a new one" in fate.line()
    assert ada.folder.load().outbox == ()
