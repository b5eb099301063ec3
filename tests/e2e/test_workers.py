"""The same merge on one Ray worker, on two, and in this process: the same candidate, bit for bit."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from barnraise.config import CodecConfig, MergeConfig, ModelConfig, OuterConfig
from barnraise.releases.store import BlobStore
from barnraise.updates import write_update
from coordinator.conductor.cluster import local_ray, prepare_environment
from coordinator.conductor.merging import Bench, MergeJob, plan_inputs
from coordinator.conductor.pool import InlinePool, Pool, RayPool
from coordinator.conductor.steps import merge_now
from coordinator.models import ModelCache
from coordinator.round import Candidate
from merge.architectures import build, flat_of, space_of
from merge.compress import compress

MODEL = ModelConfig(dim=256, layers=3, heads=2, hidden=512, context=32)
MERGE = MergeConfig(strategy="trimmed-mean", clip_norm_at=1.05, outer=OuterConfig(learning_rate=0.7, momentum=0.9))
CODEC = CodecConfig(name="topk", k=64)
UPDATES = 5


@dataclass(frozen=True)
class Yard:
    """A store with a base and its updates, which a run of two rounds is merged from."""

    bench: Bench
    base_digest: str
    made: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    @classmethod
    def at(cls, root: Path) -> Yard:
        module = build(MODEL)
        space = space_of(module)
        bench = Bench(BlobStore(root), ModelCache(root / "models", space))
        return cls(bench, bench.models.put(flat_of(module, space)))

    def updates(self, base_digest: str, seed: int) -> list[tuple[str, int]]:
        """Noise as updates, as :func:`plan_inputs` takes them; made once for a base."""
        if base_digest not in self.made:
            self.made[base_digest] = self._noise(base_digest, seed)
        return list(self.made[base_digest])

    def _noise(self, base_digest: str, seed: int) -> list[tuple[str, int]]:
        space, draws = self.bench.space, np.random.default_rng(seed)
        made = []
        for number in range(UPDATES):
            delta_P = torch.from_numpy((1e-3 * (number + 1) * draws.standard_normal(space.size)).astype(np.float32))
            segments, _ = compress(delta_P, space, CODEC)
            data = write_update(space, base_digest, CODEC, segments, role="update")
            made.append((self.bench.blobs.put(data), 1000))
        return made

    def two_rounds(self, pool: Pool, order: random.Random) -> tuple[Candidate, Candidate]:
        """Two rounds, the second one on the first one's candidate and optimiser state; updates come in any order."""
        first = self._round(pool, order, self.base_digest, None, seed=1)
        return first, self._round(pool, order, first.model_digest, first.state_digest, seed=2)

    def _round(
        self, pool: Pool, order: random.Random, base_digest: str, state_digest: str | None, seed: int
    ) -> Candidate:
        updates = self.updates(base_digest, seed)
        order.shuffle(updates)
        job = MergeJob(base_digest, plan_inputs(MERGE, updates), state_digest, MERGE, CODEC)
        return merge_now(self.bench, job, pool, 60.0).candidate


@pytest.fixture
def ray_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What Ray reads from the environment, for the length of a test."""
    before = dict(os.environ)
    prepare_environment(tmp_path_factory.mktemp("keys") / "ray.token")
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("ray_environment")
def test_a_candidate_depends_neither_on_workers_nor_on_the_order_of_arrival(tmp_path: Path) -> None:
    yard = Yard.at(tmp_path)
    assert yard.bench.space.segment_count > 1
    merged = [yard.two_rounds(InlinePool(), random.Random(seed)) for seed in (0, 1)]
    for workers in (1, 2):
        with local_ray(workers):
            merged.append(yard.two_rounds(RayPool(), random.Random(10 + workers)))
    assert all(one == other for one, other in pairwise(merged)), merged
    assert len({candidate.model_digest for candidate in merged[0]}) == 2
