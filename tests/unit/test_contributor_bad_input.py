"""What volunteers run into: each case says what happened, what the node does now, and what its owner can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barnraise.digest import canonical_json
from barnraise.errors import (
    BadSignatureError,
    BannedError,
    ClockSkewError,
    FolderLockedError,
    QuotaExceededError,
    RefusedError,
    UnreachableError,
    VerificationError,
)
from barnraise.protocol import LeaseAnswer, Wait
from barnraise.releases.manifest import read_manifest
from contributor.client import GatewayClient
from contributor.door import run_info
from contributor.events import NodeEvent, Step
from contributor.folder import NodeFolder
from contributor.interrupt import Interrupt
from contributor.transport import Answer
from node_world import World, another
from pretend_gateway import PretendGateway

URL = "http://pretend"


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    (tmp_path / "node").mkdir()
    return World(NodeFolder(tmp_path / "node"))


def test_a_coordinator_that_is_gone_for_an_hour_costs_nothing(world: World) -> None:
    calm = another(world, "calm")
    calm.process()

    def on_event(event: NodeEvent, _interrupt: Interrupt) -> None:
        if isinstance(event, Step) and event.step == 2:
            world.gateway.silent_for = 160

    world.on_event, world.slept_max = on_event, 10_000
    assert world.process() == "1 of 1 units done"
    assert world.slept > 3_000
    assert world.gateway.received == calm.gateway.received
    for reason in world.waits():
        assert reason.startswith("waiting for pretend: ")
        assert reason.endswith(f"barnraise doctor {URL}")


def test_with_a_limit_to_its_patience_it_gives_up_and_keeps_the_update(world: World) -> None:
    world.gateway.refuse["PUT"] = UnreachableError("no way through")
    world.on_event = lambda event, interrupt: interrupt.terminate() if world.slept > 50 else None
    world.process()
    assert len(world.folder.load().outbox) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ClockSkewError("the message is dated 86,400 s behind the coordinator's clock; set yours"), "set yours"),
        (BannedError("your key may not contribute to this run: it sends noise"), "it sends noise"),
        (BadSignatureError("not signed by that key"), "not signed"),
    ],
)
def test_a_refusal_that_waiting_does_not_cure_ends_with_its_reason(world: World, error: Any, words: str) -> None:
    world.gateway.refuse["POST /v1/leases"] = error
    with pytest.raises(RefusedError, match=words):
        world.process()


def test_too_many_unfinished_updates_are_waited_for(world: World) -> None:
    world.gateway.refuse["POST /v1/updates"] = QuotaExceededError("2 of your updates are not finished")
    world.on_event = lambda event, _interrupt: world.gateway.refuse.clear() if event.kind == "waiting" else None
    assert world.process() == "1 of 1 units done"
    assert "2 of your updates are not finished" in world.waits()[0]


def test_the_same_key_on_another_machine_is_waited_for_and_said(world: World) -> None:
    reason = "another node with this key holds the lease of round 1, for 500 s more; stop one of the two"
    real, answers = world.gateway._lease, iter([True, True])

    def lease(signed: Any) -> LeaseAnswer:
        if next(answers, False):
            return LeaseAnswer(wait=Wait(reason=reason, retry_after_s=30.0))
        return real(signed)

    world.gateway._lease = lease  # type: ignore[method-assign]
    assert world.process() == "1 of 1 units done"
    assert world.waits() == [reason]


def test_each_folder_says_which_node_it_is_and_stays_it(world: World) -> None:
    world.process()
    node = world.folder.load().node
    world.next_round()
    assert world.folder.load().node == node
    other = another(world, "other")
    other.process()
    assert len(node) == 32
    assert other.folder.load().node != node


def test_the_same_key_on_this_machine_does_not_start(world: World) -> None:
    with world.folder.lock(), pytest.raises(FolderLockedError, match=r"another node with this key.*Stop it first"):
        world.folder.lock().__enter__()


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"architecture": "state-space", "dim": 16}},
        {"data": {"corpus": "../web"}},
        {"a_field_of_tomorrow": 1},
    ],
)
def test_a_run_of_another_architecture_or_of_tomorrow_is_named_and_the_upgrade_too(change: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match=r"does not know.*Nothing was trained.*pip install -U"):
        run_info(told(change), URL)


def test_another_protocol_is_refused_before_anything_is_done() -> None:
    with pytest.raises(RefusedError, match="speaks protocol 99"):
        run_info(told({"protocol": 99}), URL)


def told(change: dict[str, Any]) -> GatewayClient:
    """A coordinator that describes its run in another way."""
    info = PretendGateway().info().model_dump(mode="json") | change

    class Says:
        def request(self, _method: str, _path: str, _body: bytes | None = None) -> Answer:
            return Answer(200, canonical_json(info))

    return GatewayClient(Says())


def test_a_release_of_tomorrow_names_the_upgrade() -> None:
    with pytest.raises(VerificationError, match="pip install -U barnraise"):
        read_manifest(b'{"a_field_of_tomorrow": 1}', "the manifest of 9.0.0")
