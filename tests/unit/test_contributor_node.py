"""The node against a coordinator in memory: what it sends adds up, whatever goes wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.errors import (
    BarnraiseError,
    ClockSkewError,
    DiskFullError,
    LeaseError,
    RefusedError,
    UnknownFieldError,
    UnreachableError,
    VerificationError,
)
from barnraise.identity import Identity
from barnraise.protocol import RunInfo, UpdateEnvelope
from barnraise.releases.store import BlobStore
from barnraise.update_config import CodecConfig
from barnraise.updates import Update
from contributor.base import Base, check_base
from contributor.events import Fate, NodeEvent, Notice, Step, Waiting
from contributor.folder import NodeFolder
from contributor.interrupt import Interrupt
from contributor.poison import flipped
from contributor.state import NodeState
from contributor.training.trainer import Trainer
from node_world import ME, KilledError, World, another, only, press_at
from pretend_gateway import PretendGateway


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    (tmp_path / "node").mkdir()
    return World(NodeFolder(tmp_path / "node"))


def test_a_unit_from_lease_to_receipt(world: World) -> None:
    assert world.process() == "1 of 1 units done"
    assert world.kinds() == ["leased", "pulled", *["step"] * 4, "finished", "sent", "received"]
    who, envelope = world.gateway.envelopes[only(world)]
    assert who == ME.public
    assert (envelope.steps, envelope.examples, envelope.tokens) == (4, 8, 8 * 16)
    losses = [event.loss for event in world.events if isinstance(event, Step)]
    assert (envelope.loss_first, envelope.loss_last) == (losses[0], losses[-1])


def test_update_and_residual_are_the_trained_change(world: World) -> None:
    world.process()
    change_P = world.trained(1)
    assert np.array_equal(world.residual(), change_P - world.said(only(world)))


def test_the_residual_goes_into_the_next_unit(world: World) -> None:
    world.process()
    residual_P, first = world.residual().copy(), only(world)
    world.gateway.round = 2
    world.process()
    (second,) = set(world.gateway.received) - {first}
    assert np.array_equal(world.residual(), world.trained(1, 2) + residual_P - world.said(second))


def test_a_fisher_goes_along_where_the_lease_asks_for_it(world: World) -> None:
    world.process()
    plain = only(world)
    space = world.gateway.bases.space
    assert not Update.parse(world.gateway.received[plain], space, base_digest=None).has_fisher
    without = world.residual().copy()
    asked = World(NodeFolder(world.folder.root.parent / "asked"))
    asked.folder.root.mkdir()
    asked.gateway.fisher = True
    asked.process()
    update = Update.parse(asked.gateway.received[only(asked)], space, base_digest=None)
    assert np.array_equal(asked.said(only(asked)), world.said(plain))
    assert np.array_equal(asked.residual(), without)
    fisher_P = np.concatenate([update.fisher(s) for s in range(space.segment_count)])
    wanted_P = asked.trainer(1).fisher()
    some_P = fisher_P > 0
    assert some_P.any()
    assert set(np.flatnonzero(some_P)) <= set(np.flatnonzero(asked.said(only(asked))))
    assert np.corrcoef(np.log(fisher_P[some_P]), np.log(wanted_P[some_P] + 1e-12))[0, 1] > 0.95


def test_a_unit_continued_from_a_checkpoint_sends_the_same_fisher(world: World) -> None:
    whole = World(NodeFolder(world.folder.root.parent / "whole"))
    whole.folder.root.mkdir()
    whole.gateway.fisher = world.gateway.fisher = True
    whole.process()
    world.on_event = press_at(2, times=2)
    assert world.process() == "asked to stop"
    world.on_event = lambda _event, _interrupt: None
    world.process()
    assert only(world) == only(whole)


def test_a_dense_update_is_exact_and_leaves_nothing(world: World) -> None:
    world.gateway.codec = CodecConfig(name="dense")
    world.process()
    assert np.array_equal(world.said(only(world)), world.trained(1))
    assert not world.residual().any()


def test_a_run_without_error_feedback_keeps_no_residual(world: World) -> None:
    world.gateway.residual_decay = 0.0
    world.process()
    assert world.folder.load().residuals == ()


def test_of_a_residual_the_share_that_the_run_asks_for_goes_into_the_next_update(world: World) -> None:
    world.gateway.residual_decay = 0.5
    world.process()
    first, left_P = only(world), world.residual().copy()
    assert left_P.any()
    world.gateway.codec = CodecConfig(name="dense")
    world.gateway.round = 2
    world.process()
    (second,) = set(world.gateway.received) - {first}
    assert np.array_equal(world.said(second), world.trained(1, 2) + np.float32(0.5) * left_P)


def test_an_unmerged_update_is_added_to_the_next_one(world: World) -> None:
    world.gateway.codec = CodecConfig(name="dense")
    world.process()
    first = only(world)
    world.gateway.decide(first, "unmerged", fold_back=True)
    world.gateway.round = 2
    world.process()
    (second,) = set(world.gateway.received) - {first}
    assert np.array_equal(world.said(second), world.trained(1, 2) + world.said(first))
    assert world.folder.load().to_fold == ()


@pytest.mark.parametrize(("state", "fold_back"), [("merged", True), ("rejected", True), ("unmerged", False)])
def test_only_what_came_to_nothing_without_fault_is_added_back(world: World, state: str, fold_back: bool) -> None:
    world.gateway.codec = CodecConfig(name="dense")
    world.process()
    first = only(world)
    world.gateway.decide(first, state, fold_back=fold_back)
    world.gateway.round = 2
    world.process()
    (second,) = set(world.gateway.received) - {first}
    assert np.array_equal(world.said(second), world.trained(1, 2))
    assert [event.state for event in world.events if isinstance(event, Fate)] == [state]


def test_a_coordinator_that_forgot_an_update_is_not_asked_for_ever(world: World) -> None:
    world.process()
    world.gateway.received.clear()
    world.gateway.round = 2
    world.process()
    assert [event.state for event in world.events if isinstance(event, Fate)] == ["unknown"]


@pytest.mark.parametrize("where", ["GET /v1/updates", "POST /v1/leases", "POST /v1/updates", "PUT"])
def test_an_answer_that_was_lost_changes_nothing(world: World, where: str) -> None:
    world.process()
    world.gateway.round = 2
    world.gateway.deaf_after[where] = 2
    world.process()
    calm = World(NodeFolder(world.folder.root.parent / "calm"))
    calm.folder.root.mkdir()
    calm.process()
    calm.gateway.round = 2
    calm.process()
    assert world.gateway.received == calm.gateway.received
    assert np.array_equal(world.residual(), calm.residual())
    assert "waiting" in world.kinds()


def test_a_silent_coordinator_is_waited_for(world: World) -> None:
    world.gateway.silent_for = 5
    world.process()
    assert world.kinds()[:5] == ["waiting"] * 5
    assert "Find out why: barnraise doctor http://pretend" in world.events[0].line()


@pytest.mark.parametrize("moment", ["leased", "pulled", "step", "PUT", "commit-1", "commit-2", "commit-3"])
def test_a_node_killed_at_any_moment_sends_the_same_update_once(
    world: World, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = another(world, "calm")
    calm.process()
    is_killed_at(moment, world, monkeypatch)
    assert world.gateway.received == calm.gateway.received
    assert np.array_equal(world.residual(), calm.residual())
    assert world.moments() == calm.moments()
    assert [update.digest for update in world.folder.load().sent] == [only(world)]


@pytest.mark.parametrize("moment", ["leased", "pulled", "step", "PUT", "commit-1", "commit-2", "commit-3"])
def test_a_node_killed_in_its_second_unit_loses_neither_residual_nor_moments(
    world: World, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = another(world, "calm")
    for node in (calm, world):
        node.process()
        node.gateway.round = 2
    calm.process()
    is_killed_at(moment, world, monkeypatch)
    assert world.gateway.received == calm.gateway.received
    assert np.array_equal(world.residual(), calm.residual())
    assert world.moments() == calm.moments()


def is_killed_at(moment: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a node, kill it, and start the next."""

    def killed(event: NodeEvent, _interrupt: Interrupt) -> None:
        if event.kind == moment:
            raise KilledError

    world.on_event = killed
    with monkeypatch.context() as patched:
        if moment == "PUT":
            patched.setattr(world.gateway, "_put", _kill)
        if moment.startswith("commit"):
            patched.setattr(NodeFolder, "commit", _dying_commit(int(moment[-1])))
        with pytest.raises(KilledError):
            world.process()
    world.on_event = lambda _event, _interrupt: None
    world.process()


def _kill(*_arguments: object) -> None:
    raise KilledError


def _dying_commit(last: int) -> Callable[[NodeFolder, object], object]:
    """The real commit, until the process dies right before the rename of number ``last``."""
    real, calls = NodeFolder.commit, iter(range(1, 100))

    def commit(folder: NodeFolder, state: object) -> object:
        if next(calls) == last:
            raise KilledError
        return real(folder, state)  # type: ignore[arg-type]

    return commit


def test_one_interrupt_finishes_the_unit(world: World) -> None:
    world.on_event = press_at(2, times=1)
    assert world.process(max_units=None) == "the unit was finished, as asked"
    assert len(world.gateway.received) == 1


@pytest.mark.parametrize("step", [1, 2, 4])
def test_two_interrupts_stop_at_the_step_and_the_next_start_continues_there(world: World, step: int) -> None:
    world.on_event = press_at(step, times=2)
    assert world.process(max_units=None) == "asked to stop"
    assert world.gateway.received == {}
    assert sum(isinstance(event, Step) for event in world.events) == step
    world.on_event = lambda _event, _interrupt: None
    world.process()
    assert [e.text for e in world.events if isinstance(e, Notice)] == [f"continuing a unit after step {step} of 4"]
    assert sum(isinstance(event, Step) for event in world.events) == 4
    assert np.array_equal(world.residual(), world.trained(1) - world.said(only(world)))


def test_an_interrupt_while_waiting_stops_at_once(world: World) -> None:
    world.process()
    world.on_event = lambda event, interrupt: interrupt.press() if event.kind == "waiting" else None
    assert world.process() == "asked to stop"
    assert "waiting for others" in world.events[-1].line()


@pytest.mark.parametrize("torn", [False, True])
def test_a_checkpoint_that_is_no_use_says_which_of_two_reasons_it_has(world: World, torn: bool) -> None:
    world.on_event = press_at(2, times=2)
    world.process()
    if torn:
        path = world.folder.checkpoint
        path.write_bytes(path.read_bytes()[:-100])
    else:
        world.gateway.round += 1
    world.on_event = lambda _event, _interrupt: None
    world.process()
    expected = "the checkpoint is damaged" if torn else "the unit that was begun before belongs to a lease that is over"
    assert f"{expected}; this unit begins anew" in world.notices()


def test_a_checkpoint_of_another_lease_is_said_and_ignored(world: World) -> None:
    world.on_event = press_at(2, times=2)
    world.process()
    world.gateway.round = 2
    world.on_event = lambda _event, _interrupt: None
    world.process()
    assert any(isinstance(event, Notice) and "begins anew" in event.text for event in world.events)
    assert not world.folder.checkpoint.exists()


def test_a_refused_update_is_as_if_it_was_never_trained(world: World) -> None:
    world.process()
    before = world.folder.load()
    world.gateway.round = 2
    world.gateway.refuse["POST /v1/updates"] = LeaseError("the lease has expired")
    with pytest.raises(RefusedError, match=r"3 updates in a row were refused.*the lease has expired"):
        world.process()
    assert world.folder.load().residuals == before.residuals
    assert world.folder.load().moments == before.moments is not None
    assert world.folder.load().outbox == ()
    assert [event.state for event in world.events if isinstance(event, Fate)] == ["refused"] * 3


def test_a_coordinator_with_a_full_disk_is_waited_for(world: World) -> None:
    def until_third(event: NodeEvent, _interrupt: Interrupt) -> None:
        if world.kinds().count("waiting") == 3:
            world.gateway.refuse.clear()

    world.gateway.refuse["PUT"] = DiskFullError("no space left")
    world.on_event = until_third
    world.process()
    assert len(world.gateway.received) == 1


def test_an_update_that_waited_long_is_signed_again(world: World) -> None:
    real = world.gateway._announce

    def strict(signed):  # type: ignore[no-untyped-def]
        if abs(signed.open(UpdateEnvelope).at_ms - world.gateway.now_ms) > 300_000:
            raise ClockSkewError("signed too long ago")
        return real(signed)

    world.gateway._announce = strict  # type: ignore[method-assign]
    world.on_event = lambda event, interrupt: interrupt.terminate() if event.kind == "waiting" else None
    world.gateway.refuse["POST /v1/updates"] = UnreachableError("the coordinator is restarting")
    assert world.process() == "asked to stop"
    world.gateway.refuse.clear()
    world.gateway.now_ms += 3_600_000
    world.on_event = lambda _event, _interrupt: None
    assert world.process() == "1 of 1 units done"
    assert len(world.gateway.received) == 1


def test_a_page_that_is_no_coordinator_does_not_cost_the_update(world: World) -> None:
    class ProxyError(BarnraiseError):
        http_status = 403

        @property
        def code(self) -> str:
            return ""

    world.gateway.refuse["PUT"] = ProxyError("log in first")
    with pytest.raises(RefusedError, match="log in first"):
        world.process()
    assert len(world.folder.load().outbox) == 1


def test_a_lease_or_receipt_of_somebody_else_is_not_believed(world: World) -> None:
    info = world.gateway.info()
    world.gateway.identity = Identity.from_seed(bytes([9] * 32))
    world.gateway.info = lambda: info  # type: ignore[method-assign]
    with pytest.raises(VerificationError, match="not signed by this run's coordinator"):
        world.process()
    assert "step" not in world.kinds()


def test_a_coordinator_that_changed_its_key_is_not_believed(world: World) -> None:
    world.process()
    world.gateway.identity = Identity.from_seed(bytes([9] * 32))
    with pytest.raises(VerificationError, match="now signs with key"):
        world.process()


def test_another_shape_of_trunk_begins_without_a_residual(world: World) -> None:
    world.process()
    state = world.folder.load()
    world.folder.commit(state.in_space("b3:" + "0" * 64))
    world.gateway.round = 2
    world.process()
    assert np.array_equal(world.residual(), world.trained(2) - world.said(list(world.gateway.received)[-1]))


# -- moments from unit to unit -------------------------------------------------------------


def vectors_of(trainer: Trainer) -> tuple[int, bytes, bytes]:
    moments = trainer.moments()
    return moments.steps, moments.first_P.tobytes(), moments.second_P.tobytes()


def test_every_unit_begins_with_the_moments_of_the_last(world: World) -> None:
    world.gateway.codec = CodecConfig(name="dense")
    world.process()
    assert world.moments() == vectors_of(world.trainer(1))
    assert np.array_equal(world.said(world.next_round()), world.trained(1, 2))
    assert world.moments() == vectors_of(world.trainer(1, 2))
    assert np.array_equal(world.said(world.next_round()), world.trained(1, 2, 3))
    assert not np.array_equal(world.trained(1, 2, 3), world.trained(3))
    assert world.moments()[0] == 12
    assert world.notices() == []


def test_a_run_that_does_not_want_moments_kept_has_fresh_ones_in_every_unit(world: World) -> None:
    world.gateway.codec = CodecConfig(name="dense")
    world.keep_moments(False)
    world.process()
    state = world.folder.load()
    assert state.moments is None
    assert state.blobs() == {*state.residuals, only(world)}
    assert np.array_equal(world.said(world.next_round()), world.trained(2))


def test_moments_that_are_not_wanted_any_more_go_with_the_next_receipt(world: World) -> None:
    world.gateway.codec = CodecConfig(name="dense")
    world.process()
    world.keep_moments(False)
    assert np.array_equal(world.said(world.next_round()), world.trained(2))
    assert world.folder.load().moments is None
    world.keep_moments(True)
    assert np.array_equal(world.said(world.next_round()), world.trained(3))
    assert world.moments() == vectors_of(world.trainer(3))


def test_moments_are_the_next_units_only_once_there_is_a_receipt(world: World) -> None:
    world.process()
    before = world.moments()
    world.gateway.round = 2
    world.gateway.refuse["PUT"] = UnreachableError("no way through")
    world.on_event = lambda event, interrupt: interrupt.terminate() if event.kind == "waiting" else None
    assert world.process() == "asked to stop"
    assert len(world.folder.load().outbox) == 1
    assert world.moments() == before
    world.gateway.refuse.clear()
    world.on_event = lambda _event, _interrupt: None
    world.process()
    assert world.moments() == vectors_of(world.trainer(1, 2))


def test_a_unit_with_kept_moments_continued_from_a_checkpoint_sends_the_same(world: World) -> None:
    whole = another(world, "whole")
    whole.gateway.fisher = world.gateway.fisher = True
    whole.process()
    whole.next_round()
    world.process()
    world.on_event = press_at(3, times=2)
    world.gateway.round = 2
    assert world.process() == "asked to stop"
    world.on_event = lambda _event, _interrupt: None
    world.process()
    assert world.gateway.received == whole.gateway.received
    assert world.moments() == whole.moments()
    assert world.notices() == ["continuing a unit after step 3 of 4"]


def other_layout(world: World, state: NodeState) -> NodeState:
    return state.model_copy(update={"space": "b3:" + "0" * 64, "residuals": ()})


def other_beta(world: World, state: NodeState) -> NodeState:
    world.gateway.training = world.gateway.training.model_copy(update={"beta2": 0.95})
    return state


def other_clipping(world: World, state: NodeState) -> NodeState:
    world.gateway.training = world.gateway.training.model_copy(update={"clip_grad_norm": 0.5})
    return state


def with_first(value: float) -> Callable[[World, NodeState], NodeState]:
    return lambda world, state: _with_vector(world, state, "first", value)


def with_second(value: float) -> Callable[[World, NodeState], NodeState]:
    return lambda world, state: _with_vector(world, state, "second", value)


def _with_vector(world: World, state: NodeState, which: str, value: float) -> NodeState:
    """One element is ``value``, under a digest that is right."""
    assert state.moments is not None
    vector_P = world.folder.vector(getattr(state.moments, which), world.gateway.bases.space.size).copy()
    vector_P[7] = value
    moments = state.moments.model_copy(update={which: world.folder.store.put(vector_P.tobytes())})
    return state.model_copy(update={"moments": moments})


def no_steps(_world: World, state: NodeState) -> NodeState:
    assert state.moments is not None
    return state.model_copy(update={"moments": state.moments.model_copy(update={"steps": 0})})


def cut_to(size: int | None, which: str) -> Callable[[World, NodeState], NodeState]:
    """A file is cut to ``size`` bytes, or gone."""

    def damage(world: World, state: NodeState) -> NodeState:
        path = world.folder.store.path(getattr(state.moments, which))
        path.write_bytes(path.read_bytes()[:size]) if size is not None else path.unlink()
        return state

    return damage


def flipped_bit(world: World, state: NodeState) -> NodeState:
    assert state.moments is not None
    path = world.folder.store.path(state.moments.second)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    return state


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (other_layout, "they belong to a model with other parameters"),
        (other_beta, "they were averaged with beta2 0.99, this unit has 0.95"),
        (other_clipping, "they were averaged with clip_grad_norm 1, this unit has 0.5"),
        (with_first(np.nan), "a value is not finite"),
        (with_second(np.inf), "a value is not finite"),
        (with_second(-1e-9), "a second one negative"),
        (no_steps, "no step was counted"),
        (cut_to(0, "first"), "missing or damaged"),
        (cut_to(100, "second"), "missing or damaged"),
        (cut_to(-4, "second"), "missing or damaged"),
        (cut_to(0, "second"), "missing or damaged"),
        (cut_to(None, "first"), "missing or damaged"),
        (flipped_bit, "missing or damaged"),
    ],
)
def test_moments_that_cannot_be_used_are_dropped_and_that_is_said_once(
    world: World, damage: Callable[[World, NodeState], NodeState], reason: str
) -> None:
    world.gateway.codec = CodecConfig(name="dense")
    world.process()
    world.folder.commit(damage(world, world.folder.load()))
    world.on_event = press_at(1, times=2)
    world.gateway.round = 2
    world.process()
    assert world.folder.load().moments is None
    world.folder.checkpoint.unlink()
    world.on_event = lambda _event, _interrupt: None
    world.process()
    (said,) = world.notices()
    assert said.startswith("AdamW's moments are dropped, this unit begins without: ")
    assert reason in said
    assert np.array_equal(world.said(list(world.gateway.received)[-1]), world.trained(2))
    assert world.moments() == vectors_of(world.trainer(2))


@pytest.mark.parametrize("begun", ["write_beside", "adopt", "put"])
@pytest.mark.parametrize("stored", range(2))
def test_a_full_disk_at_the_end_of_a_unit_moves_nothing(
    world: World, begun: str, stored: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = another(world, "calm")
    calm.process()
    calm.next_round()
    world.process()
    before = world.folder.load()
    world.gateway.round = 2
    held: list[NodeState] = []
    with monkeypatch.context() as patched:
        patched.setattr(BlobStore, begun, _full_after(stored, getattr(BlobStore, begun)))

        def freed(event: NodeEvent, _interrupt: Interrupt) -> None:
            if isinstance(event, Waiting):
                assert event.reason.startswith("the unit is trained and waits for room on the disk (see: df -h ")
                assert event.reason.endswith("): no space left")
                held.append(world.folder.load())
                patched.undo()

        world.on_event = freed
        world.process()
    assert held == [before]
    assert {path.name for path in world.folder.root.glob("incoming/*")} <= {"lock"}
    assert world.gateway.received == calm.gateway.received
    assert np.array_equal(world.residual(), calm.residual())
    assert world.moments() == calm.moments()


def _full_after(stored: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """``real`` for ``stored`` blobs: an update and a residual are put one way, two moments another."""
    calls = itertools.count()

    def limited(*arguments: Any, **options: Any) -> Any:
        if next(calls) >= stored:
            raise DiskFullError("no space left")
        return real(*arguments, **options)

    return limited


# -- what is not believed ------------------------------------------------------------------


def test_a_model_that_is_not_what_its_architecture_says_is_not_built() -> None:
    bases = PretendGateway().bases
    vast = PretendGateway().info().model.model_copy(update={"layers": 10**12})
    with pytest.raises(VerificationError, match="parameters, its architecture needs"):
        check_base(Base("0.1.0", vast, bases.space, bases.flat_P, 0))


@pytest.mark.parametrize("change", [{"corpus": "../web"}, {"held_out_percent": 99}, {"shards": {"../x": ["os"]}}])
def test_data_that_this_version_does_not_know_is_refused(change: dict[str, object]) -> None:
    info = PretendGateway().info().model_dump(mode="json")
    with pytest.raises(UnknownFieldError, match=rf"data\..*{next(iter(change))}"):
        RunInfo.read({**info, "data": {**info["data"], **change}})


def test_the_drill_flips_and_scales_what_an_honest_unit_says(world: World) -> None:
    world.gateway.codec = CodecConfig(name="dense")
    world.change = flipped(10.0)
    world.process()
    assert np.array_equal(world.said(only(world)), world.trained(1) * np.float32(-10))
