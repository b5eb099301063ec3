"""A node with the real governor: policies come and go after every step, and the unit is what it would have been."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contributor.events import NodeEvent, Step
from contributor.folder import NodeFolder
from contributor.governor import Wish
from contributor.governor.governor import Governor
from contributor.governor.look import Look
from contributor.governor.sensors.clock import ClockSensor
from contributor.governor.sensors.memory import MemorySensor
from contributor.governor.settings import remove_table, table_of, write_table
from contributor.interrupt import Interrupt
from node_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(NodeFolder(tmp_path))


def test_policies_that_come_and_go_between_steps_lose_none_and_change_no_bit(world: World, tmp_path: Path) -> None:
    clock = iter(range(1_000_000))
    look = Look((ClockSensor(), MemorySensor()), lambda: 0, lambda: 2.0 * next(clock))
    governor = Governor(tmp_path, look, lambda _told: None)
    loaded: list[tuple[str, ...]] = []

    def on_event(event: NodeEvent, _interrupt: Interrupt) -> None:
        if isinstance(event, Step):
            loaded.append(governor.policies)
            change = [
                lambda: write_table(tmp_path, "learned", {"target_slowdown": 0.5}),
                lambda: write_table(tmp_path, "schedule", {"hours": ["daily"], "zone": "UTC"}),
                lambda: remove_table(tmp_path, "learned"),
                lambda: write_table(tmp_path, "exclusive-app", {"programs": ["steam"]}),  # nobody tells: no more work
            ]
            change[event.step - 1]()

    def on_sleep(_seconds: float, _interrupt: Interrupt) -> None:
        if table_of(tmp_path, "exclusive-app") is not None:
            remove_table(tmp_path, "exclusive-app")

    world.advice, world.on_event, world.on_sleep = governor, on_event, on_sleep
    assert world.process() == "1 of 1 units done"
    steps = [event.step for event in world.events if isinstance(event, Step)]
    assert steps == [1, 2, 3, 4]
    assert loaded == [(), ("learned",), ("learned", "schedule"), ("schedule",)]
    (digest,) = world.gateway.received
    assert np.array_equal(world.said(digest) + world.residual(), world.trained(1))


class Fickle:
    """Wishes for a long pause after each step, until it has been asked three times in it."""

    def __init__(self) -> None:
        self.asked = 0

    def wish(self) -> Wish:
        self.asked += 1
        return Wish(True, "others are busy", duty=0.01) if self.asked < 3 else Wish(True, "others have gone")

    def is_changed(self) -> bool:
        return False

    def stepped(self, step_s: float, micro_batch: int) -> None:
        self.asked = 0


def test_a_pause_ends_when_the_policies_change_their_mind(world: World) -> None:
    ticks = iter(range(1_000_000))
    world.clock_s = lambda: float(next(ticks))
    world.advice = Fickle()
    assert world.process() == "1 of 1 units done"
    assert world.slept == pytest.approx(4 * 2 * 0.5)  # after each of four steps two looks, half a second apart
