"""A merge as batches of tasks: measure, plan, merge, put together. Whoever has a pool drives it.

values = yield [Task(...), Task(...)]      results in order; the first error is raised here
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from coordinator.conductor.merging import (
    Bench,
    MergeJob,
    assemble,
    measure_range,
    merge_range,
    range_plans,
    segment_ranges,
)
from coordinator.conductor.pool import Pool, Task
from coordinator.round_events import Candidate
from merge.measure import Measured, total
from merge.plan import MergePlan, plan_merge

__all__ = ["Merging", "drive", "merge_now", "merge_steps"]

T = TypeVar("T")


@dataclass(frozen=True)
class Merging:
    """A finished merge: the candidate, and the numbers and decisions that led to it."""

    candidate: Candidate
    measured: Measured
    plan: MergePlan


def merge_steps(bench: Bench, job: MergeJob, timeout_s: float) -> Generator[list[Task], list[Any], Merging]:
    """Merge a round.

    Args:
        timeout_s: for each task.

    Raises:
        MergeError: too few updates, unusable weights, a result that is not finite.
        UpdateError: an update cannot be decoded.
    """
    ranges = segment_ranges(bench.space, job.merge.segments_per_task)
    found = yield [Task(measure_range, (bench, job, first, end), timeout_s) for first, end in ranges]
    measured = total([segment for part in found for segment in part])
    plan = plan_merge(measured, [item.weight for item in job.inputs], job.rules)
    plans = range_plans(bench.space, job, plan, measured)
    parts = yield [Task(merge_range, (bench, job, own), timeout_s) for own in plans]
    (candidate,) = yield [Task(assemble, (bench, job, parts), timeout_s)]
    assert isinstance(candidate, Candidate)
    for part in set(parts):
        bench.blobs.delete(part)
    return Merging(candidate, measured, plan)


def merge_now(bench: Bench, job: MergeJob, pool: Pool, timeout_s: float) -> Merging:
    """Merge a round on a pool that does nothing else, and wait for it; raises what :func:`merge_steps` raises."""
    return drive(merge_steps(bench, job, timeout_s), pool)


def drive(work: Generator[list[Task], list[Any], T], pool: Pool) -> T:
    """Run batches of tasks on a pool that does nothing else, and wait for what they lead to.

    Raises:
        BarnraiseError: the first error of a task.
    """
    try:
        batch = next(work)
        while True:
            batch = work.send(_results(pool, batch))
    except StopIteration as stopped:
        found: T = stopped.value
        return found


def _results(pool: Pool, tasks: Sequence[Task]) -> list[Any]:
    """Values of all tasks, in their order."""
    tickets = [pool.submit(task) for task in tasks]
    values: dict[int, Any] = {}
    while len(values) < len(tickets):
        for outcome in pool.wait(1.0):
            if outcome.error is not None:
                raise outcome.error
            values[outcome.ticket] = outcome.value
    return [values[ticket] for ticket in tickets]
