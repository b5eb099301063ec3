"""The outbox: any number of units on their way, received in any order, and nothing is sent twice or lost."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import digest_bytes
from barnraise.errors import DiskFullError, UnreachableError
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.update_config import CodecConfig
from contributor.events import Fate, NodeEvent, Received
from contributor.folder import NodeFolder
from contributor.interrupt import Interrupt
from contributor.state import KeptMoments, NodeState, Outgoing
from node_world import World, another
from pretend_gateway import PretendGateway

SPACE = digest_bytes(b"space")
ENVELOPE = Signed.make(PretendGateway().info(), Identity.from_seed(bytes(32)))


def name(text: object) -> str:
    return digest_bytes(str(text).encode())


@dataclass
class Ledgered:
    """A state, and the numbers that its blobs stand for: a change of one element, exactly."""

    state: NodeState = field(default_factory=lambda: NodeState(space=SPACE))
    numbers: dict[str, int] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    sent: int = 0  # in all updates that were received
    count: int = 0

    def finish(self, change: int, said: int) -> None:
        """A unit that changes the element by ``change``, whose update says ``said``."""
        self.count += 1
        took = self.state.free_residuals
        left = change + sum(self.numbers[residual] for residual in took) - said
        digest, residual = name(self.count), name(f"left by {self.count}")
        self.numbers |= {digest: said, residual: left}
        self.changes[digest] = change
        moments = KeptMoments(
            steps=self.count, first=name("m"), second=name("v"), beta1=0.9, beta2=0.99, clip_grad_norm=1
        )
        unit = Outgoing(digest=digest, envelope=ENVELOPE, residual=residual, moments=moments, dense_bytes=4, took=took)
        self.state = self.state.finished(unit)

    def receive(self, place: int) -> None:
        digest = self.state.outbox[place].digest
        self.state = self.state.received(digest, 1)
        self.sent += self.numbers[digest]

    def refuse(self, place: int) -> None:
        digest = self.state.outbox[place].digest
        self.state = self.state.refused(digest)
        del self.changes[digest]

    def balanced(self) -> bool:
        """Of units with a receipt, all that was changed was said, or is left over and in one place only."""
        waiting = {unit.digest for unit in self.state.outbox}
        left = sum(self.numbers[residual] for residual in self.state.residuals)
        return self.sent + left == sum(change for digest, change in self.changes.items() if digest not in waiting)


STORY = st.lists(
    st.tuples(st.sampled_from(["finish", "receive", "refuse"]), st.integers(-9, 9), st.integers(-9, 9)), max_size=40
)


@settings(deadline=None)
@given(STORY)
def test_nothing_is_lost_or_sent_twice_in_whatever_order_receipts_come(story: list[tuple[str, int, int]]) -> None:
    book = Ledgered()
    for what, one, other in story:
        if what == "finish":
            book.finish(one, other)
        elif book.state.outbox:
            place = one % len(book.state.outbox)
            book.receive(place) if what == "receive" else book.refuse(place)
        assert book.balanced()
        assert len(set(book.state.residuals)) == len(book.state.residuals)


@settings(deadline=None)
@given(STORY)
def test_moments_never_go_back_to_an_earlier_unit(story: list[tuple[str, int, int]]) -> None:
    book, newest = Ledgered(), 0
    for what, one, other in story:
        if what == "finish":
            book.finish(one, other)
        elif book.state.outbox:
            place = one % len(book.state.outbox)
            if what == "refuse":
                book.refuse(place)
                continue
            newest = max(newest, int(book.state.outbox[place].moments.steps))  # type: ignore[union-attr]
            book.receive(place)
            assert book.state.moments is not None
            assert book.state.moments.steps == newest


def test_a_state_from_before_the_outbox_is_read(tmp_path: Path) -> None:
    unit = {
        "digest": name("u"),
        "envelope": ENVELOPE.model_dump(mode="json"),
        "residual": name("new"),
        "dense_bytes": 4,
    }
    old = {"space": SPACE, "residual": name("old"), "outgoing": unit, "sent": [], "to_fold": []}
    (tmp_path / "state.json").write_text(json.dumps(old))
    state = NodeFolder(tmp_path).load()
    assert state.residuals == (name("old"),)
    assert [one.digest for one in state.outbox] == [name("u")]
    received = state.received(name("u"), 1)
    assert received.residuals == (name("new"),)
    (tmp_path / "state.json").write_text(json.dumps({**old, "residual": None, "outgoing": None}))
    assert NodeFolder(tmp_path).load() == NodeState(space=SPACE)


def test_what_is_on_its_way_when_the_trunk_changes_its_shape_leaves_nothing_over() -> None:
    book = Ledgered()
    book.finish(5, 3)
    reshaped = book.state.in_space(name("another space"))
    received = reshaped.received(book.state.outbox[0].digest, 1)
    assert received.residuals == ()
    assert received.settled(book.state.outbox[0].digest, fold_back=True).to_fold == ()


# -- with a node ---------------------------------------------------------------------------------------


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    (tmp_path / "node").mkdir()
    return World(NodeFolder(tmp_path / "node"))


def test_a_coordinator_that_takes_no_uploads_does_not_stop_the_next_unit(world: World) -> None:
    """Its disk is full for a while, but it gives leases: both units arrive, and both changes in full."""
    world.gateway.codec = CodecConfig(name="dense")
    world.gateway.refuse["PUT"] = DiskFullError("no space left")
    asked = []

    def on_event(event: NodeEvent, _interrupt: Interrupt) -> None:
        asked.append(event.kind)
        if event.kind == "waiting" and world.gateway.round == 1:
            world.gateway.round = 2
        elif event.kind == "finished" and world.gateway.round == 2:
            world.gateway.refuse.clear()

    world.gateway._announce = _of_any_round(world.gateway)  # type: ignore[method-assign]
    world.on_event = on_event
    assert world.process(max_units=2) == "2 of 2 units done"
    assert asked.count("finished") == 2
    assert len(world.gateway.received) == 2
    first, second = world.gateway.received
    assert np.array_equal(world.said(first), world.trained(1))
    assert np.array_equal(world.said(second), world.trained(2))  # with the moments from before both
    assert world.folder.load().outbox == ()


def test_with_an_update_on_its_way_no_residual_is_sent_twice(world: World) -> None:
    calm = another(world, "calm")
    calm.process()
    world.process()
    world.gateway.round = 2
    world.gateway.refuse["PUT"] = UnreachableError("no way through")
    world.on_event = lambda event, interrupt: interrupt.terminate() if event.kind == "waiting" else None
    world.process()
    (unit,) = world.folder.load().outbox
    assert unit.took == world.folder.load().residuals
    assert world.folder.load().free_residuals == ()
    world.gateway.refuse.clear()
    world.on_event = lambda _event, _interrupt: None
    world.process()
    calm.next_round()
    assert world.gateway.received == calm.gateway.received
    assert np.array_equal(world.residual(), calm.residual())


def test_one_refused_update_does_not_hold_up_the_others(world: World) -> None:
    world.gateway.refuse["PUT"] = DiskFullError("no space left")

    def on_event(event: NodeEvent, _interrupt: Interrupt) -> None:
        if event.kind == "waiting" and world.gateway.round == 1:
            world.gateway.round = 2
        elif event.kind == "finished" and world.gateway.round == 2:
            world.gateway.refuse.clear()  # and the lease of round 1 is over by now

    world.on_event = on_event
    assert world.process(max_units=1) == "1 of 1 units done"
    (fate,) = [event for event in world.events if isinstance(event, Fate)]
    assert "has expired" in fate.reason
    assert sum(isinstance(event, Received) for event in world.events) == 1


def _of_any_round(gateway: PretendGateway):  # type: ignore[no-untyped-def]
    """A coordinator that still waits for updates of an earlier round."""
    real = PretendGateway._announce

    def announce(signed: Signed):  # type: ignore[no-untyped-def]
        now, gateway.round = gateway.round, signed.body["round"]
        try:
            return real(gateway, signed)
        finally:
            gateway.round = now

    return announce
