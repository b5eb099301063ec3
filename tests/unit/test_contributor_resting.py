"""A unit on a machine with an owner: paused, advised, short of memory, past its lease; and no step is lost."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from barnraise.errors import DiskFullError, NotEnoughMemoryError
from barnraise.releases.durable import disk_full_translated
from contributor import saving
from contributor.events import Leased, NodeEvent, Notice, Resting, Step
from contributor.folder import NodeFolder
from contributor.governor.wish import Wish
from contributor.interrupt import Interrupt
from contributor.resting import PAUSED, Rest
from contributor.state import NodeState
from contributor.training.trainer import Trainer
from node_world import World, another, only

WORK = Wish(True, "nothing else is to be done")


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    (tmp_path / "node").mkdir()
    return World(NodeFolder(tmp_path / "node"))


@dataclass
class Told:
    """Advice that a test may change at any time."""

    now: Wish = WORK
    changed: bool = False
    steps: list[tuple[float, int]] = field(default_factory=list)

    def wish(self) -> Wish:
        return self.now

    def is_changed(self) -> bool:
        return self.changed

    def stepped(self, step_s: float, micro_batch: int) -> None:
        self.steps.append((step_s, micro_batch))


def steps_of(world: World) -> list[int]:
    return [event.step for event in world.events if isinstance(event, Step)]


def as_if_nothing_had_happened(world: World) -> bool:
    """The same update and the same left-over as of a node that was left alone."""
    calm = another(world, "calm")
    calm.process()
    return world.gateway.received == calm.gateway.received and np.array_equal(world.residual(), calm.residual())


def pausing_at(world: World, step: int) -> None:
    world.on_event = lambda event, interrupt: (
        interrupt.pause() if isinstance(event, Step) and event.step == step else None
    )


# -- pause ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_pause_loses_no_step_and_changes_no_bit(world: World, step: int) -> None:
    pausing_at(world, step)
    world.on_sleep = lambda _seconds, interrupt: interrupt.resume() if world.slept > 1 else None
    assert world.process() == "1 of 1 units done"
    assert steps_of(world) == [1, 2, 3, 4]
    assert world.waits() == [PAUSED]
    assert f"continuing a unit after step {step} of 4" in world.notices()
    assert as_if_nothing_had_happened(world)


def test_a_paused_node_holds_no_trainer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []
    real = Trainer.__init__

    def counted(self: Trainer, *arguments: Any, **named: Any) -> None:
        real(self, *arguments, **named)
        alive.append(1)

    monkeypatch.setattr(Trainer, "__init__", counted)
    monkeypatch.setattr(Trainer, "__del__", lambda _self: alive.pop(), raising=False)
    held: list[int] = []

    def on_sleep(_seconds: float, interrupt: Interrupt) -> None:
        held.append(len(alive))
        interrupt.resume()

    pausing_at(world, 2)
    world.on_sleep = on_sleep
    world.process()
    assert held == [0]


def test_a_pause_between_units_asks_for_no_work(world: World) -> None:
    world.process()
    asked = len(world.gateway.log)
    world.gateway.round = 2

    def on_sleep(_seconds: float, interrupt: Interrupt) -> None:
        assert len(world.gateway.log) == asked
        interrupt.resume()

    world.on_start, world.on_sleep = Interrupt.pause, on_sleep
    assert world.process() == "1 of 1 units done"
    assert world.waits() == [PAUSED]


@pytest.mark.parametrize("step", [1, 2])
def test_a_stop_while_paused_keeps_the_unit(world: World, step: int) -> None:
    pausing_at(world, step)
    world.on_sleep = lambda _seconds, interrupt: interrupt.terminate()
    assert world.process() == "asked to stop"
    world.on_event = lambda _event, _interrupt: None
    world.process()
    assert f"continuing a unit after step {step} of 4" in world.notices()
    assert as_if_nothing_had_happened(world)


def test_finish_while_paused_completes_the_unit(world: World) -> None:
    pausing_at(world, 2)
    world.on_sleep = lambda _seconds, interrupt: interrupt.ask_finish()
    assert world.process(max_units=None) == "the unit was finished, as asked"
    assert len(world.gateway.received) == 1


def test_every_rest_is_said_once(world: World) -> None:
    pausing_at(world, 2)
    world.on_sleep = lambda _seconds, interrupt: interrupt.resume() if world.slept > 30 else None
    world.process()
    assert sum(isinstance(event, Resting) for event in world.events) == 1
    assert not any(isinstance(event, Notice) and "paused" in event.text for event in world.events)


# -- policies --------------------------------------------------------------------------------------------


def test_a_policy_that_wants_no_work_sets_the_unit_aside_and_no_step_is_lost(world: World) -> None:
    resting = Wish(False, "the owner is at the keyboard", look_again_s=1.0)
    looks = iter(range(3))

    class Once(Told):
        def wish(self) -> Wish:
            return resting if len(self.steps) == 2 and next(looks, None) is not None else WORK

    world.advice = Once()
    assert world.process() == "1 of 1 units done"
    assert steps_of(world) == [1, 2, 3, 4]
    assert set(world.waits()) == {"resting: the owner is at the keyboard"}
    assert as_if_nothing_had_happened(world)


def test_a_rest_ends_at_once_when_its_policy_is_unloaded(world: World) -> None:
    advice = Told(Wish(False, "not at this hour", look_again_s=60.0))

    def on_sleep(_seconds: float, _interrupt: Interrupt) -> None:
        if world.slept > 5:
            advice.now, advice.changed = WORK, True

    world.advice, world.on_sleep = advice, on_sleep
    assert world.process() == "1 of 1 units done"
    assert world.slept < 6


def test_policies_may_be_swapped_between_any_two_steps(world: World) -> None:
    advice = Told()

    def on_event(event: NodeEvent, _interrupt: Interrupt) -> None:
        if isinstance(event, Step):
            advice.now = Wish(True, f"swapped after {event.step}", micro_batch_max=event.step)

    world.advice, world.on_event = advice, on_event
    world.process()
    assert steps_of(world) == [1, 2, 3, 4]
    assert [micro for _, micro in advice.steps] == [2, 1, 2, 2]


def test_a_duty_below_one_pauses_after_each_step(world: World) -> None:
    ticking, advice = iter(range(100_000)), Told(Wish(True, "half of the time", duty=0.5))
    world.clock_s = lambda: next(ticking) * 1.0
    world.advice = advice
    world.process()
    assert world.slept == pytest.approx(sum(step_s for step_s, _ in advice.steps), abs=0.5)


def test_without_transfers_nothing_is_asked_or_sent(world: World) -> None:
    advice = Told(Wish(True, "the network is metered", transfer=False, look_again_s=1.0))

    def on_sleep(_seconds: float, _interrupt: Interrupt) -> None:
        if advice.now is not WORK:
            assert world.gateway.log == []
        if world.slept > 5:
            advice.now = WORK

    world.advice, world.on_sleep = advice, on_sleep
    world.process()
    assert world.waits()[0] == "resting: the network is metered"
    assert len(world.gateway.received) == 1


# -- what goes wrong on a machine ----------------------------------------------------------------------------


def test_a_lease_that_runs_out_is_said_and_a_new_one_is_taken(world: World) -> None:
    def on_event(event: NodeEvent, _interrupt: Interrupt) -> None:
        if isinstance(event, Step) and event.step == 2 and world.gateway.round == 1:
            world.gateway.now_ms += 600_000
            world.gateway.round = 2

    world.on_event = on_event
    assert world.process() == "1 of 1 units done"
    said = [event.round for event in world.events if isinstance(event, Leased)]
    assert said[-1] == 2
    assert world.gateway.envelopes[only(world)][1].round == 2


@pytest.mark.parametrize("step", [0, 2])
def test_a_lease_that_holds_is_not_given_up_though_this_machine_s_clock_is_ahead(world: World, step: int) -> None:
    """From the start, or from the end of a step on."""

    def on_event(event: NodeEvent, _interrupt: Interrupt) -> None:
        if step and isinstance(event, Step) and event.step == step:
            world.clock_ahead_ms = 86_400_000

    world.on_event, world.clock_ahead_ms = on_event, 0 if step else 86_400_000
    assert world.process() == "1 of 1 units done"
    assert len({event.lease_id for event in world.events if isinstance(event, Leased)}) == 1
    assert steps_of(world) == [1, 2, 3, 4]
    assert as_if_nothing_had_happened(world)


def test_without_memory_for_one_example_it_waits_and_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([False, True, True, False])
    real = Trainer.step

    def step(trainer: Trainer) -> float:
        if next(failures, False):
            raise NotEnoughMemoryError("2 GiB were asked for, 1 GiB is free.")
        return real(trainer)

    monkeypatch.setattr(Trainer, "step", step)
    assert world.process() == "1 of 1 units done"
    first, _ = world.waits()
    assert "2 GiB were asked for, 1 GiB is free" in first
    assert "barnraise doctor http://pretend" in first
    assert as_if_nothing_had_happened(world)


def test_without_memory_to_map_a_file_it_waits_and_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The left-overs of the first unit, at the end of the second."""
    failures, real = iter([True]), NodeFolder.vector

    def vector(folder: NodeFolder, digest: str, size: int) -> NDArray[np.float32]:
        if next(failures, False):
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return real(folder, digest, size)

    calm = another(world, "calm")
    calm.process()
    calm.next_round()
    assert world.process() == "1 of 1 units done"
    world.gateway.round = 2
    monkeypatch.setattr(NodeFolder, "vector", vector)
    assert world.process() == "1 of 1 units done"
    (said,) = world.waits()
    assert said.startswith("out of memory: [Errno 12] Cannot allocate memory. Trying again")
    assert world.gateway.received == calm.gateway.received


def test_a_disk_without_room_for_a_checkpoint_does_not_stop_training(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise DiskFullError("no space left while writing below /node.")

    with monkeypatch.context() as patched:
        patched.setattr(saving, "save_checkpoint", full)
        pausing_at(world, 2)
        world.on_sleep = lambda _seconds, interrupt: interrupt.resume()
        assert world.process() == "1 of 1 units done"
    assert any("could not be saved, a kill now would lose it: no space left" in text for text in world.notices())
    assert steps_of(world) == [1, 2, 3, 4]
    assert as_if_nothing_had_happened(world)


def test_a_disk_without_room_for_the_state_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failing = NodeFolder.commit, iter([False, True, True, False])

    def commit(folder: NodeFolder, state: NodeState) -> NodeState:
        if next(failing, False):
            raise DiskFullError("no space left while writing below /node.")
        return real(folder, state)

    monkeypatch.setattr(NodeFolder, "commit", commit)
    assert world.process() == "1 of 1 units done"
    assert world.waits()
    assert all("looking again every 30 s): no space left" in reason for reason in world.waits())
    assert all("room on the disk (see: df -h" in reason for reason in world.waits())


# -- leaving ---------------------------------------------------------------------------------------------------


def test_leave_stops_at_the_step_gives_the_lease_back_and_forgets_nothing_else(world: World) -> None:
    world.process()
    before = world.folder.load()
    world.gateway.round = 2
    world.on_event = lambda event, interrupt: (
        interrupt.ask_leave() if isinstance(event, Step) and event.step == 2 else None
    )
    assert "the lease was given back" in world.process()
    assert [event.lease_id for event in world.events if isinstance(event, Leased)][-1:] == world.gateway.released
    assert world.folder.load() == before
    assert not world.folder.checkpoint.exists()


def test_leave_while_there_is_no_room_on_the_disk_gives_the_lease_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit(_folder: NodeFolder, _state: NodeState) -> NodeState:
        raise DiskFullError("no space left while writing below /node.")

    def on_event(event: NodeEvent, interrupt: Interrupt) -> None:
        if isinstance(event, Step):
            monkeypatch.setattr(NodeFolder, "commit", commit)
        elif event.kind == "waiting":
            interrupt.ask_leave()

    world.on_event = on_event
    assert "the lease was given back" in world.process()
    assert len(world.gateway.released) == 1


@pytest.mark.parametrize(("number", "look"), [(errno.ENOSPC, "df -h FOLDER"), (errno.EDQUOT, "quota -s")])
@pytest.mark.parametrize("folder", [Path("/node"), Path("/" + "n" * 300)], ids=["short", "long"])
def test_what_has_no_room_says_where_to_look(number: int, look: str, folder: Path) -> None:
    said: list[NodeEvent] = []
    rest = Rest(Interrupt(lambda _seconds: None), Told(), said.append)
    with pytest.raises(DiskFullError) as caught, disk_full_translated(folder):
        raise OSError(number, os.strerror(number))
    rest.for_room("waiting for room on the disk", caught.value, folder)
    (waiting,) = said
    assert os.strerror(number) in waiting.as_json()["reason"]
    see = look.replace("FOLDER", str(folder))
    assert waiting.line().startswith(f"waiting for room on the disk (see: {see}; looking again every 30 s): ")


def test_leave_from_a_coordinator_that_does_not_answer_keeps_the_unit(world: World) -> None:
    def on_event(event: NodeEvent, interrupt: Interrupt) -> None:
        if isinstance(event, Step) and event.step == 2:
            world.gateway.silent_for = 1
            interrupt.ask_leave()

    world.on_event = on_event
    assert world.process() == "left; everything is kept for the next join"
    assert any("could not be given back and ends by itself" in text for text in world.notices())
    world.on_event = lambda _event, _interrupt: None
    world.process()
    assert as_if_nothing_had_happened(world)


def test_leave_without_a_lease_is_just_an_end(world: World) -> None:
    world.process()
    world.on_event = lambda event, interrupt: interrupt.ask_leave() if event.kind == "waiting" else None
    assert world.process(max_units=None) == "left; everything is kept for the next join"
    assert world.gateway.released == []
