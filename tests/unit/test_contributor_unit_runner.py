"""A unit as the machine allows it: ended before its lease, told how busy it was, private where that was chosen."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import node_world
from contributor.events import Finished, NodeEvent, Step
from contributor.folder import NodeFolder
from contributor.interrupt import Interrupt
from contributor.parts import Parts
from contributor.privacy.beginning import Privacy
from contributor.privacy.budget import Choice, load_budget
from node_world import World, only


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    (tmp_path / "node").mkdir()
    return World(NodeFolder(tmp_path / "node"))


def takes(world: World, step_s: float) -> None:
    """Let every step take so long, by all clocks."""

    def passes(event: NodeEvent, _interrupt: Interrupt) -> None:
        if isinstance(event, Step):
            world.gateway.now_ms += round(step_s * 1000)

    world.on_event = passes
    world.clock_s = lambda: world.gateway.now_ms / 1000


def test_a_slow_machine_s_unit_ends_while_there_is_time_to_send_it(world: World) -> None:
    takes(world, 200.0)  # of a lease of 600 s, of which 30 are kept for sending
    world.process()
    _, envelope = world.gateway.envelopes[only(world)]
    assert (envelope.steps, envelope.examples, envelope.tokens) == (2, 4, 64)
    assert world.notices() == [
        "this unit ends after 2 of 4 steps: 200 s of the lease are left, a step takes 200.0 s, and 30 s are kept for "
        "sending"
    ]
    world.gateway.training = world.gateway.training.model_copy(update={"steps": 2})
    assert np.array_equal(world.said(only(world)) + world.residual(), world.trained(1))


def test_a_fast_machine_s_unit_has_all_steps(world: World) -> None:
    takes(world, 10.0)
    world.process()
    assert world.gateway.envelopes[only(world)][1].steps == 4
    assert world.notices() == []


def test_what_fitted_into_memory_is_remembered_for_the_next_unit(world: World) -> None:
    world.process()
    assert (world.folder.root / "machine.json").exists()
    (done,) = (event for event in world.events if isinstance(event, Finished))
    assert done.device == "CPU"


def private(world: World, monkeypatch: pytest.MonkeyPatch, choice: Choice | None) -> None:
    privacy = Privacy.of(world.folder, choice, lambda _text: None)
    monkeypatch.setattr(node_world, "Parts", partial(Parts, privacy=privacy))


def test_a_private_unit_is_paid_for_and_tells_no_losses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    private(world, monkeypatch, Choice(8.0, 1e-5, 10))
    world.process()
    _, envelope = world.gateway.envelopes[only(world)]
    assert (envelope.loss_first, envelope.loss_last, envelope.steps, envelope.tokens) == (0.0, 0.0, 4, 128)
    budget = load_budget(world.folder.root / "privacy.json")
    assert budget is not None
    assert [part.steps for part in budget.spent] == [4]
    assert not np.array_equal(world.said(only(world)) + world.residual(), world.trained(1))


def test_a_private_unit_that_is_continued_is_paid_for_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    private(world, monkeypatch, Choice(8.0, 1e-5, 10))
    world.on_event = lambda event, stop: stop.terminate() if isinstance(event, Step) and event.step == 2 else None
    world.process()
    world.on_event = lambda _event, _stop: None
    private(world, monkeypatch, Choice(8.0, 1e-5, 10))
    world.process()
    budget = load_budget(world.folder.root / "privacy.json")
    assert budget is not None
    assert [part.steps for part in budget.spent] == [4]
    assert world.gateway.envelopes[only(world)][1].steps == 4
