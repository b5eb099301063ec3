"""A node whose key was replaced: it keeps what it has finished, and the new key sends it."""

from __future__ import annotations

from pathlib import Path

import pytest

import node_world
from barnraise.errors import RefusedError, RetiredKeyError
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.protocol import LeaseAnswer
from contributor.folder import NodeFolder
from node_world import ME, World, only

NEW = Identity.from_seed(b"n" * 32)


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    (tmp_path / "node").mkdir()
    return World(NodeFolder(tmp_path / "node"))


def test_a_finished_unit_outlives_its_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.gateway.refuse["POST /v1/updates"] = RetiredKeyError("key 0a was rotated and signs no more")
    with pytest.raises(RefusedError, match="signs no more"):
        world.process()
    [kept] = world.folder.load().outbox
    assert kept.envelope.key == ME.public
    world.gateway.refuse.clear()
    monkeypatch.setattr(node_world, "ME", NEW)
    world.process()
    assert world.gateway.envelopes[only(world)][0] == NEW.public
    assert world.folder.load().outbox == ()
    assert len(world.folder.load().residuals) == 1


def test_what_the_coordinator_wants_known_is_said_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = world.gateway._lease

    def telling(signed: Signed) -> LeaseAnswer:
        return plain(signed).model_copy(update={"notice": "somebody claims the place of your key"})

    monkeypatch.setattr(world.gateway, "_lease", telling)
    world.process()
    world.gateway.round = 2
    world.process()
    assert world.notices().count("somebody claims the place of your key") == 2  # once in each process
