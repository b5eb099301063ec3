"""A node whose updates say one of four elements a round: what it sends, what waits, and that nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from barnraise.errors import VerificationError
from barnraise.protocol import Lease
from barnraise.update_config import CodecConfig
from barnraise.updates import Turn, Update
from contributor.doctor.need import update_bytes
from contributor.folder import NodeFolder
from contributor.team_unit import averaged_size
from contributor.training.trainable import EVERYTHING
from contributor.unit import Wanted, finish_unit
from node_world import World

TURNS = 4
DENSE, FOUR_BITS = CodecConfig(name="dense"), CodecConfig(name="blockwise", bits=4)
Vector = NDArray[np.float32]


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    (tmp_path / "node").mkdir()
    world = World(NodeFolder(tmp_path / "node"))
    world.gateway.codec, world.gateway.kind = FOUR_BITS, {"turns": TURNS}
    return world


def watch(world: World, *said: float | None) -> list[Vector]:
    """The changes of units to come, as training left them; the first ones times what is said."""
    changes: list[Vector] = []

    def watched(change_P: Vector) -> Vector:
        factor = said[len(changes)] if len(changes) < len(said) else None
        changes.append(change_P if factor is None else np.float32(factor) * change_P)
        return changes[-1].copy()

    world.change = watched
    return changes


def decoded(world: World, digest: str | None = None) -> Vector:
    """The change that an update says, the last one or another."""
    received, bases = world.gateway.received, world.gateway.bases
    data = received[digest] if digest else list(received.values())[-1]
    update = Update.parse(data, bases.space, base_digest=bases.digest)
    update.validate()
    return np.concatenate([update.decode(segment) for segment in range(update.space.segment_count)])


def residual(world: World) -> Vector:
    (kept,) = world.folder.load().residuals
    return world.folder.vector(kept, world.gateway.bases.space.size).copy()


def mine(world: World, number: int) -> NDArray[np.bool_]:
    turn = Turn(world.gateway.bases.space, TURNS, number)
    whole = np.zeros(turn.whole.size, dtype=np.float32)
    turn.put(np.ones(turn.space.size, dtype=np.float32), whole)
    return whole == 1


def test_it_sends_what_has_its_turn_and_keeps_all_the_rest(world: World) -> None:
    changes = watch(world)
    world.process()
    said_P, left_P, mine_P = decoded(world), residual(world), mine(world, 1)
    assert not said_P[~mine_P].any()
    assert np.array_equal(left_P[~mine_P], changes[0][~mine_P])
    assert np.count_nonzero(said_P) > 0.2 * np.count_nonzero(changes[0])
    np.testing.assert_allclose(said_P + left_P, changes[0], rtol=1e-5, atol=1e-8)
    second = world.next_round()
    np.testing.assert_allclose(decoded(world, second) + residual(world), changes[1] + left_P, rtol=1e-5, atol=1e-8)
    assert not decoded(world, second)[~mine(world, 2)].any()


def test_in_a_cycle_everything_is_said(world: World) -> None:
    """Of a change that is sent exactly nothing is left once every element had its turn."""
    world.gateway.codec, world.gateway.round = DENSE, TURNS
    changes = watch(world, None, 0, 0, 0)
    world.process()
    sums_P = decoded(world)
    for _ in range(TURNS - 1):
        assert residual(world).any()
        sums_P += decoded(world, world.next_round())
    assert np.array_equal(sums_P, changes[0])
    assert not residual(world).any()


def test_what_was_not_merged_goes_out_again_when_its_elements_have_their_turn(world: World) -> None:
    world.gateway.codec, world.gateway.kind, world.gateway.round = DENSE, {"turns": 2}, 2
    changes = watch(world, None, 0, 0, 0)
    world.process()
    (first,) = world.gateway.received
    lost_P = decoded(world, first)
    world.gateway.decide(first, "unmerged", fold_back=True)
    rest_P = decoded(world, world.next_round())
    assert lost_P.any()
    assert np.array_equal(rest_P + lost_P, changes[0])
    assert np.array_equal(residual(world), lost_P)
    again_P = decoded(world, world.next_round()) + decoded(world, world.next_round())  # the next cycle
    assert np.array_equal(again_P, lost_P)
    assert not residual(world).any()


def test_moments_stay_and_a_team_averages_the_whole_change(world: World) -> None:
    world.process()
    moments, space = world.folder.load().moments, world.gateway.bases.space
    assert moments is not None
    assert len(world.folder.store.read(moments.first)) == 4 * space.size
    wanted = Wanted(space, world.gateway.bases.digest, FOUR_BITS, Turn(space, TURNS, 1))
    assert wanted.trains == EVERYTHING
    assert averaged_size(wanted) == space.size


def test_when_turns_end_what_waited_goes_out_at_once(world: World) -> None:
    world.process()
    waited_P, changes = residual(world), watch(world)
    world.gateway.codec, world.gateway.kind = DENSE, {}
    world.next_round()
    assert np.array_equal(decoded(world), changes[0] + waited_P)
    assert not world.notices()


def test_a_round_that_no_turn_is_of_is_not_trained_for(world: World) -> None:
    world.gateway.round = 1 << 31
    with pytest.raises(VerificationError, match="has no elements in turn"):
        world.process()
    assert not world.gateway.received


def test_the_target_may_become_the_residual(world: World) -> None:
    bases = world.gateway.bases
    wanted = Wanted(bases.space, bases.digest, FOUR_BITS, Turn(bases.space, TURNS, 7))
    target_P = bases.flat_P.copy()
    apart = finish_unit(wanted, target_P)
    assert np.array_equal(target_P, bases.flat_P)
    within = finish_unit(wanted, target_P, in_place=True)
    assert within.residual_P is target_P
    assert within.data == apart.data
    assert np.array_equal(apart.residual_P, target_P)


def test_leases_from_before_there_were_turns_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    leases: list[Lease] = []
    fetch = world.gateway.bases.fetch
    monkeypatch.setattr(world.gateway.bases, "fetch", lambda lease: (leases.append(lease), fetch(lease))[1])
    world.process()
    said = leases[0].model_dump(mode="json")
    assert said.pop("turns") == TURNS
    assert Lease.read(said).turns is None


def test_an_update_in_turn_is_as_much_smaller() -> None:
    whole = update_bytes(3_082_496, FOUR_BITS)
    assert update_bytes(3_082_496, FOUR_BITS, 8) == pytest.approx(whole / 8, rel=1e-4)
