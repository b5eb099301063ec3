"""Rounds with every kind of update: to a release, the same in any order, and computed again from what it published."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from barnraise.config import RunConfig
from barnraise.digest import digest_bytes
from barnraise.releases.source import FolderSource
from barnraise.run_folder import RunFolder
from barnraise.updates import Update, asked_carrier, write_update
from barnraise.updates.mask import write_mask
from contributor.training.scores import magnitude_scores
from coordinator.masks import keep_mask
from coordinator.recompute import recompute
from merge.architectures import build, flat_of, space_of
from merge.compress import compress
from merge.compress.mask import choose_entries
from simulator import Simulation, tiny_config
from update_samples import BASE

SHARDS = {"ada": "text", "barbara": "tools", "grace": "text"}
FOUR_BITS = {"name": "blockwise", "bits": 4}
KINDS: dict[str, dict[str, Any]] = {
    "some tensors": {"codec": FOUR_BITS, "train": ["model.layers.*.mlp.*", "model.norm.weight"]},
    "some tensors, sparse, with a Fisher": {
        "codec": {"name": "topk", "k": 512},
        "train": ["model.layers.*"],
        "fisher": True,
    },
    "factors of some matrices": {
        "codec": {"name": "blockwise", "bits": 8},
        "train": ["model.layers.*.mlp.*"],
        "lora": {"rank": 4},
    },
    "factors of all matrices": {"codec": {"name": "dense"}, "lora": {"rank": 2, "alpha": 4}},
    "elements in turn": {"codec": FOUR_BITS, "turns": 4},
    "entries of a mask": {"codec": {"name": "blockwise", "bits": 8}, "mask": {"by": "magnitude", "density": 0.1}},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def run_of(root: Path, kind: str) -> Simulation:
    strategy = "fisher" if KINDS[kind].get("fisher") else "mean"
    merge = {"strategy": strategy, "outer": {"momentum": 0.5}}
    if "mask" not in KINDS[kind]:
        return Simulation(root, tiny_config(update=KINDS[kind], merge=merge))
    data, source = mask_for(tiny_config()), root / "run.toml"
    root.mkdir(parents=True, exist_ok=True)
    (root / "mask.safetensors").write_bytes(data)
    pinned = {"file": "mask.safetensors", "digest": digest_bytes(data), "size_bytes": len(data)}
    config = tiny_config(update=KINDS[kind] | {"mask": pinned}, merge=merge)
    keep_mask(RunFolder(root), source, config)
    return Simulation(root, config)


def mask_for(config: RunConfig) -> bytes:
    """The tenth of a run's first model that is largest."""
    module = build(config.model)
    space = space_of(module)
    base_P = flat_of(module, space)
    return write_mask(space, BASE, choose_entries(magnitude_scores(base_P), space, 0.1))


def moved(simulation: Simulation, before: str, after: str) -> set[str]:
    """Names of the tensors that differ between two models."""
    desk = simulation.desk
    old, new = (desk.space.unflatten(np.array(desk.models.verified(digest))) for digest in (before, after))
    return {name for name in old if not np.array_equal(old[name], new[name])}


@every_kind
def test_the_same_release_in_whatever_order_and_again_from_what_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))  # no key is pinned there
    released = set()
    for number, order in enumerate(list(permutations(SHARDS))[::3]):
        simulation = run_of(tmp_path / str(number), kind)
        base = simulation.ledger.newest_release()
        assert base is not None
        for name in order:
            simulation.contributor(name, SHARDS[name]).delivers()
        simulation.runs_until("released")
        newest = simulation.ledger.newest_release()
        assert newest is not None
        released.add((newest.model_digest, newest.state_digest))
        space = simulation.desk.space
        carrier = asked_carrier(space, simulation.config.update, simulation.desk.mask, turn=1)
        assert carrier is not None
        allowed = {spec.name for spec, bit in zip(space.tensors, carrier.chosen, strict=True) if bit}
        assert set() < moved(simulation, base.model_digest, newest.model_digest) <= allowed
    assert len(released) == 1
    simulation.ticks()
    (again,) = recompute(FolderSource(simulation.folder.root), "0.1.1")
    assert (again.version, again.model_digest, again.updates) == ("0.1.1", newest.model_digest, 3)


@every_kind
def test_an_update_of_another_kind_is_rejected_when_it_is_checked(tmp_path: Path, kind: str) -> None:
    simulation = run_of(tmp_path, kind)
    space, config = simulation.desk.space, simulation.config.update
    mallory = simulation.contributor("mallory")
    lease_id = mallory.takes_lease()
    mallory.trained()
    base = simulation.ledger.head()
    assert base is not None
    segments, _ = compress(torch.full((space.size,), 1e-6), space, config.codec)  # of all elements
    wrong = mallory.sends(lease_id, write_update(space, base.model_digest, config.codec, segments, role="update"))
    for name, shard in SHARDS.items():
        simulation.contributor(name, shard).delivers()
    simulation.runs_until("released")
    rejected = simulation.ledger.update(wrong)
    assert rejected is not None
    assert (rejected.state, rejected.evidence["code"]) == ("rejected", "unsupported-format")
    assert "the run asks for updates of" in rejected.reason


@pytest.mark.parametrize("kind", ["some tensors", "entries of a mask"])
def test_a_round_after_the_scope_was_widened_moves_everything(tmp_path: Path, kind: str) -> None:
    """State and residual of tensors that rested are those of a beginning, whatever came before."""
    simulation = run_of(tmp_path, kind)
    for name, shard in SHARDS.items():
        simulation.contributor(name, shard).delivers()
    simulation.runs_until_tagged("0.1.1")
    first = simulation.ledger.newest_release()
    assert first is not None
    simulation.config = tiny_config()
    simulation.start()
    for name, shard in SHARDS.items():
        simulation.contributor(name, shard).delivers()
    simulation.runs_until_tagged("0.1.2")
    second = simulation.ledger.newest_release()
    assert second is not None
    names = {spec.name for spec in simulation.desk.space.tensors}
    assert moved(simulation, first.model_digest, second.model_digest) == names


def test_a_round_of_fewer_tensors_leaves_the_rest_as_it_is_though_momentum_would_move_it(tmp_path: Path) -> None:
    whole = {"codec": FOUR_BITS}
    merge = {"outer": {"momentum": 0.9}}
    simulation = Simulation(tmp_path, tiny_config(update=whole, merge=merge, release={"codec": FOUR_BITS}))
    for version, update in (("0.1.1", whole), ("0.1.2", whole | {"train": ["model.embed*"]})):
        simulation.config = tiny_config(update=update, merge=merge, release={"codec": FOUR_BITS})
        simulation.start()
        before = simulation.ledger.newest_release()
        assert before is not None
        for name, shard in SHARDS.items():
            somebody = simulation.contributor(name, shard)
            somebody.sends(somebody.takes_lease(), somebody.encoded(somebody.noise()))
        simulation.runs_until_tagged(version)
    after = simulation.ledger.newest_release()
    assert after is not None
    assert before.version == "0.1.1"
    assert moved(simulation, before.model_digest, after.model_digest) == {"model.embed_tokens.weight"}
    patches = [simulation.ledger.release(version).patch["digest"] for version in ("0.1.1", "0.1.2")]
    sizes = [len(simulation.desk.public.read(digest)) for digest in patches]
    assert sizes[1] < sizes[0] - 1000
    parsed = Update.parse(simulation.desk.public.read(patches[1]), simulation.desk.space, base_digest=None)
    assert sum(parsed.chosen) == 1


def test_tasks_have_the_mask_though_only_its_public_copy_is_left(tmp_path: Path) -> None:
    """As in a run that was restored from a backup, which has what manifests name."""
    simulation = run_of(tmp_path, "entries of a mask")
    pinned = simulation.config.update.mask
    assert pinned is not None
    simulation.desk.private.delete(pinned.digest)
    for name, shard in SHARDS.items():
        simulation.contributor(name, shard).delivers()
    simulation.runs_until("released")
    newest = simulation.ledger.newest_release()
    assert newest is not None
    manifest = json.loads(simulation.desk.public.read(newest.manifest_digest))
    assert manifest["mask"] == {"digest": pinned.digest, "size_bytes": pinned.size_bytes}
