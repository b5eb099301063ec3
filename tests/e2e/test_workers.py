"""The same merge on one Ray worker, on two, and in this process: the same candidate, bit for bit."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from barnraise.config import MergeConfig
from coordinator.conductor.cluster import local_ray, prepare_environment
from coordinator.conductor.pool import InlinePool, Pool, RayPool
from coordinator.round import Candidate
from yard import Yard

pytestmark = pytest.mark.xdist_group("ray")  # one after the other, for Ray takes every core

WAYS: tuple[dict[str, Any], ...] = (
    {"strategy": "trimmed-mean", "clip_norm_at": 1.05, "outer": {"learning_rate": 0.7, "momentum": 0.9}},
    {"strategy": "median", "before": [{"name": "bucketing", "options": {"size": 2}}, {"name": "nnm"}]},
    {"strategy": "krum", "outer": {"name": "fed-adam", "learning_rate": 1e-3}},
)


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
    yards = [Yard.at(tmp_path / str(n), MergeConfig.model_validate(way)) for n, way in enumerate(WAYS)]
    merged = [candidates(yards, InlinePool(), seed) for seed in (0, 1)]
    for workers in (1, 2):
        with local_ray(workers):
            merged.append(candidates(yards, RayPool(), 10 + workers))
    assert all(one == other for one, other in pairwise(merged)), merged
    assert len({candidate.model_digest for candidate in merged[0]}) == 2 * len(WAYS)


def candidates(yards: list[Yard], pool: Pool, seed: int) -> list[Candidate]:
    return [one.candidate for yard in yards for one in yard.two_rounds(pool, random.Random(seed))]
