"""Rounds whose updates bring a Fisher: asked for in the lease, checked, merged by, and recomputed."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from barnraise.releases.source import FolderSource
from barnraise.updates import Update
from coordinator.recompute import recompute
from laws import moments
from simulator import Simulation, tiny_config

WITH = {"codec": {"name": "topk", "k": 512}, "fisher": True}
SHARDS = {"ada": "text", "barbara": "tools", "grace": "text"}


def fisher_run(root: Path) -> Simulation:
    return Simulation(
        root, tiny_config(update=WITH, merge={"strategy": "fisher"}, release={"codec": {"name": "dense"}})
    )


def updates_of(simulation: Simulation, digests: list[str]) -> list[Update]:
    space = simulation.desk.space
    return [Update.parse(simulation.desk.private.read(d), space, base_digest=None) for d in sorted(digests)]


def test_the_same_candidate_in_whatever_order_updates_arrive(tmp_path: Path) -> None:
    released = set()
    for number, order in enumerate(moments(list(permutations(SHARDS)), 3)):
        simulation = fisher_run(tmp_path / str(number))
        for name in order:
            simulation.contributor(name, SHARDS[name]).delivers()
        simulation.runs_until("released")
        newest = simulation.ledger.newest_release()
        assert newest is not None
        released.add((newest.model_digest, newest.state_digest))
    assert len(released) == 1


def test_the_release_is_the_mean_weighted_by_what_the_fishers_say(tmp_path: Path) -> None:
    simulation = fisher_run(tmp_path)
    base = simulation.ledger.newest_release()
    assert base is not None
    before_P = np.array(simulation.desk.models.verified(base.model_digest))
    digests = [simulation.contributor(name, shard).delivers() for name, shard in SHARDS.items()]
    simulation.runs_until("released")
    newest = simulation.ledger.newest_release()
    assert newest is not None
    changed_P = simulation.desk.models.verified(newest.model_digest).astype(np.float64) - before_P
    updates, segments = updates_of(simulation, digests), range(simulation.desk.space.segment_count)
    deltas = np.stack([np.concatenate([u.decode(s) for s in segments]) for u in updates]).astype(np.float64)
    fishers = np.stack([np.concatenate([u.fisher(s) for s in segments]) for u in updates]).astype(np.float64)
    total_P = fishers.sum(axis=0)
    wanted_P = (fishers * deltas).sum(axis=0) / np.where(total_P > 0, total_P, 1)
    contested_P = (deltas != 0).sum(axis=0) > 1
    assert contested_P.any()
    assert not np.allclose(deltas.mean(axis=0)[contested_P], wanted_P[contested_P], rtol=1e-2)
    np.testing.assert_allclose(changed_P, wanted_P, atol=1e-6)  # the base has rounded the rest away


@pytest.mark.parametrize("asked", [True, False])
def test_an_update_with_a_fisher_too_many_or_too_few_is_rejected(tmp_path: Path, asked: bool) -> None:
    simulation = fisher_run(tmp_path) if asked else Simulation(tmp_path, tiny_config(update=WITH | {"fisher": False}))
    odd = simulation.contributor("mallory")
    lease_id = odd.takes_lease()
    delta_P = odd.trained()
    wrong = odd.sends(lease_id, odd.encoded(delta_P, fisher=not asked))
    honest = [simulation.contributor(name, shard).delivers() for name, shard in SHARDS.items()]
    simulation.runs_until("released")
    rejected = simulation.ledger.update(wrong)
    assert rejected is not None
    assert (rejected.state, rejected.evidence["code"]) == ("rejected", "unsupported-format")
    assert ("with a Fisher" if asked else "without a Fisher") in rejected.reason
    assert {simulation.ledger.update(digest).state for digest in honest} == {"merged"}


def test_a_fisher_that_cannot_be_decoded_is_found_before_the_merge(tmp_path: Path) -> None:
    simulation = fisher_run(tmp_path)
    mallory = simulation.contributor("mallory")
    lease_id = mallory.takes_lease()
    data = bytearray(mallory.encoded(mallory.trained()))
    data[-simulation.desk.space.size // 16 :] = b"\xff" * (simulation.desk.space.size // 16)  # the file ends with it
    wrong = mallory.sends(lease_id, bytes(data))
    for name, shard in SHARDS.items():
        simulation.contributor(name, shard).delivers()
    simulation.runs_until("released")
    rejected = simulation.ledger.update(wrong)
    assert rejected is not None
    assert (rejected.state, rejected.found_by) == ("rejected", "check")
    assert "Fisher" in rejected.reason


def test_anybody_can_compute_such_a_release_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))  # no key is pinned there
    simulation = fisher_run(tmp_path / "run")
    for name, shard in SHARDS.items():
        simulation.contributor(name, shard).delivers()
    simulation.runs_until("released")
    simulation.ticks()
    (again,) = recompute(FolderSource(simulation.folder.root), "0.1.1")
    newest = simulation.ledger.newest_release()
    assert newest is not None
    assert (again.version, again.model_digest, again.updates) == ("0.1.1", newest.model_digest, 3)
