"""Real Ray workers: the same candidate on one, on two and in this process; tests that crash or hang fail alone."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barnraise.errors import AcceptanceError
from barnraise.merge_config import MergeConfig
from coordinator.acceptance.kinds import Failure
from coordinator.conductor.cluster import local_ray, prepare_environment
from coordinator.conductor.pool import InlinePool, Outcome, Pool, RayPool, Task
from coordinator.round_events import (
    Candidate,
)
from failing import answers, crashes, fails, hangs, takes_memory
from yard import Yard

WAYS: tuple[dict[str, Any], ...] = (
    {"strategy": "trimmed-mean", "clip_norm_at": 1.05, "outer": {"learning_rate": 0.7, "momentum": 0.9}},
    {"strategy": "median", "before": [{"name": "bucketing", "options": {"size": 2}}, {"name": "nnm"}]},
    {"strategy": "krum", "outer": {"name": "fed-adam", "learning_rate": 1e-3}},
)


@pytest.fixture(scope="module")
def ray_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What Ray reads from the environment, when it is imported: once for all tests here."""
    before = dict(os.environ)
    prepare_environment(tmp_path_factory.mktemp("keys") / "ray.token")
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # where workers find the module failing
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module", params=[1, 2])
def workers(ray_environment: None, request: pytest.FixtureRequest) -> Iterator[int]:
    """So many workers, on a Ray that all tests of this number share."""
    with local_ray(request.param):
        yield request.param


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Yard], list[Candidate]]:
    """Rounds that can be merged in several ways, and what becomes of them in this process."""
    root = tmp_path_factory.mktemp("yards")
    yards = [Yard.at(root / str(n), MergeConfig.model_validate(way)) for n, way in enumerate(WAYS)]
    merged, again = (candidates(yards, InlinePool(), seed) for seed in (0, 1))
    assert merged == again
    assert len({candidate.model_digest for candidate in merged}) == 2 * len(WAYS)
    return yards, merged


def test_a_candidate_depends_neither_on_workers_nor_on_the_order_of_arrival(
    workers: int, inline: tuple[list[Yard], list[Candidate]]
) -> None:
    yards, merged = inline
    assert candidates(yards, RayPool(), 10 + workers) == merged


def candidates(yards: list[Yard], pool: Pool, seed: int) -> list[Candidate]:
    return [one.candidate for yard in yards for one in yard.two_rounds(pool, random.Random(seed))]


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("workers", [2], indirect=True)
def test_what_crashes_hangs_or_takes_too_much_fails_alone_and_says_why() -> None:
    pool = RayPool(max_retries=1)
    tasks = [
        Task(crashes, (), 120, fails_alone=True),
        Task(hangs, (), 20, fails_alone=True),
        Task(fails, (), 120, fails_alone=True),
        Task(takes_memory, (256,), 120, fails_alone=True),
        Task(answers, (), 120, fails_alone=True),
        Task(answers, (), 120),
    ]
    tickets = [pool.submit(task) for task in tasks]
    ended: dict[int, Outcome] = {}
    while len(ended) < len(tickets):
        ended.update((outcome.ticket, outcome) for outcome in pool.wait(1.0))
    crashed, hung, failed, greedy, measured, other = (ended[ticket] for ticket in tickets)
    for outcome, reason in (
        (crashed, "crashes lost its worker 2 times"),
        (hung, "hangs took longer than 20 s and was cancelled"),
        (failed, "a mistake in a test"),
    ):
        assert outcome.error is None
        assert isinstance(outcome.value, Failure)
        assert reason in outcome.value.reason
    assert isinstance(greedy.error, AcceptanceError)  # measuring a model makes a failure of it (work.measure_model)
    assert "a greedy test asked for more than 256 MB of memory" in greedy.error.reason
    assert (measured.value, other.value) == ("measured", "measured")
