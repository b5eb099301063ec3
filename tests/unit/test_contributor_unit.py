"""A node with every kind of update: what it sends, what it keeps, and what it does when the kind changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.errors import VerificationError
from barnraise.message import BlobRef
from barnraise.update_config import CodecConfig, LoraConfig, UpdateConfig
from barnraise.updates import Carrier, Mask, Update, asked_carrier
from barnraise.updates.mask import write_mask
from contributor.folder import NodeFolder
from contributor.training.scores import magnitude_scores
from contributor.unit import Wanted
from merge.compress.mask import choose_entries
from node_world import World

EIGHT = CodecConfig(name="blockwise", bits=8)


def some(_world: World) -> dict[str, Any]:
    return {"train": ("*.mlp.*",)}


def factors(_world: World) -> dict[str, Any]:
    return {"train": ("*.mlp.*",), "lora": LoraConfig(rank=2, alpha=8)}


def entries(world: World) -> dict[str, Any]:
    bases = world.gateway.bases
    data = write_mask(bases.space, bases.digest, choose_entries(magnitude_scores(bases.flat_P), bases.space, 0.05))
    bases.mask = Mask.parse(data, bases.space)
    return {"mask": BlobRef(digest=bases.mask.digest, size_bytes=len(data))}


every_kind = pytest.mark.parametrize("kind", [some, factors, entries])
Kind = Callable[[World], dict[str, Any]]


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    (tmp_path / "node").mkdir()
    world = World(NodeFolder(tmp_path / "node"))
    world.gateway.codec = EIGHT
    return world


def asked(world: World, kind: Kind) -> Carrier:
    said = kind(world)
    world.gateway.kind = said
    mask = world.gateway.bases.mask
    config = UpdateConfig(codec=EIGHT, train=said.get("train", ()), lora=said.get("lora"))
    carrier = mask if mask is not None else asked_carrier(world.gateway.bases.space, config)
    assert carrier is not None
    return carrier


def sent(world: World) -> Update:
    data = list(world.gateway.received.values())[-1]
    bases = world.gateway.bases
    return Update.parse(data, bases.space, base_digest=bases.digest, mask=bases.mask)


def within(carrier: Carrier, update: Update) -> np.ndarray:
    segments = range(update.space.segment_count)
    return np.concatenate([carrier.take(segment, update.decode(segment)) for segment in segments])


@every_kind
def test_it_sends_what_was_leased_and_keeps_what_is_left_over(world: World, kind: Kind) -> None:
    carrier = asked(world, kind)
    changes: list[np.ndarray] = []

    def watched(change_P: np.ndarray) -> np.ndarray:
        changes.append(change_P.copy())
        return change_P

    world.change = watched
    world.process()
    update = sent(world)
    update.validate()
    assert update.scope == carrier.scope
    (kept,) = world.folder.load().residuals
    residual = world.folder.vector(kept, carrier.target.size)
    assert np.abs(changes[0]).max() > 0
    np.testing.assert_allclose(within(carrier, update) + residual, changes[0], rtol=1e-4, atol=1e-8)
    outside = np.concatenate([update.decode(s) for s in range(update.space.segment_count)])
    assert np.count_nonzero(outside) <= carrier.target.size < update.space.size / 2


@every_kind
def test_what_was_left_over_goes_into_the_next_unit(world: World, kind: Kind) -> None:
    carrier = asked(world, kind)
    world.process()
    (kept,) = world.folder.load().residuals
    before = world.folder.vector(kept, carrier.target.size).copy()
    changes: list[np.ndarray] = []
    world.change = lambda change_P: (changes.append(change_P.copy()), change_P)[1]
    world.next_round()
    (kept,) = world.folder.load().residuals
    after = world.folder.vector(kept, carrier.target.size)
    assert before.any()
    np.testing.assert_allclose(within(carrier, sent(world)) + after, changes[0] + before, rtol=1e-4, atol=1e-8)


@every_kind
def test_moments_are_kept_where_they_mean_something(world: World, kind: Kind) -> None:
    carrier = asked(world, kind)
    world.process()
    moments = world.folder.load().moments
    assert (moments is None) == (kind is factors)
    if moments is not None:
        assert len(world.folder.store.read(moments.first)) == 4 * carrier.target.size
    world.next_round()
    assert not world.notices()


@every_kind
def test_when_the_kind_changes_what_does_not_fit_is_forgotten(world: World, kind: Kind) -> None:
    world.process()
    asked(world, kind)
    world.next_round()
    sent(world).validate()
    world.gateway.kind = {}
    world.next_round()
    assert sent(world).carrier is None


def test_a_lease_for_other_tensors_than_its_base_has_is_not_trained(world: World) -> None:
    world.gateway.kind = {"train": ("no.such.tensor",)}
    with pytest.raises(VerificationError, match="does not fit its base"):
        world.process()
    assert not world.gateway.received


def test_vectors_are_cut_from_a_model_as_updates_are(world: World) -> None:
    bases = world.gateway.bases
    for kind in (some, factors, entries):
        carrier = asked(world, kind)
        wanted = Wanted(bases.space, bases.digest, EIGHT, carrier)
        cut = wanted.cut(bases.flat_P)
        assert len(cut) == carrier.target.size
        starts = [bases.space.segment_range(s)[0] for s in range(bases.space.segment_count)]
        where = np.concatenate([start + carrier.positions(s) for s, start in enumerate(starts)])
        assert np.array_equal(cut, bases.flat_P[where])
