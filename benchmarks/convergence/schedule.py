"""What to run next, decided from the records that are there: so a killed experiment continues.

The grid has three axes. Every arm walks downhill on seed 0, from the better of the same two starts, one step along one
axis at a time, until all neighbours of its best point are worse; that point then runs on the other seeds. A run of the
walk is given up in its second half when it is far behind the arm's best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.convergence.arms import Arm, Scale, Tuning, arm_named

__all__ = ["Job", "best_point", "ceiling_of", "next_job", "next_point", "starts_of", "whole_order", "winner"]

Record = Mapping[str, Any]
FAR_BEHIND = 0.3  # bits per byte: a high rate lies behind until it falls


@dataclass(frozen=True)
class Job:
    """One run: an arm at one grid point."""

    arm: Arm
    tuning: Tuning
    seed: int


def whole_order(names: Sequence[str], seeds: int) -> list[tuple[str, int]]:
    """Every arm on one seed, then every arm on the next: what is there when it is stopped is comparable."""
    return [(name, most) for most in range(1, seeds + 1) for name in names]


def of(records: Iterable[Record], arm: str, seed: int) -> list[Record]:
    return [r for r in records if r["arm"] == arm and r["seed"] == seed]


def next_point(arm: Arm, records: Iterable[Record], starts: Sequence[Tuning]) -> Tuning | None:
    """Where to look next on the grid of ``arm``, on seed 0; None when all neighbours of the best point are worse."""
    done = _losses(arm, records)
    for start in starts:
        if start not in done:
            return start
    best = min(done, key=lambda point: done[point])
    return next((point for point in arm.neighbours(best) if point not in done), None)


def starts_of(arm: Arm, scale: Scale, records: Sequence[Record]) -> tuple[Tuning, ...]:
    """The points that are tried first; ``records`` are those of all scales."""
    found = best_point(arm, [r for r in records if r["scale"] == scale.begins_at])
    return arm.starts if found is None else (found,)


def winner(arm: Arm, scale: Scale, records: Sequence[Record]) -> Tuning | None:
    """The grid point with the lowest final loss on seed 0, once the search is over."""
    if arm.like is not None:
        return winner(arm_named(arm.like), scale, records)
    ours = [r for r in records if r["scale"] == scale.name]
    over = next_point(arm, ours, starts_of(arm, scale, records)) is None
    return best_point(arm, ours) if over else None


def best_point(arm: Arm, records: Sequence[Record]) -> Tuning | None:
    """The best grid point so far, whether or not the search is over; None before its first run."""
    done = _losses(arm_named(arm.like) if arm.like is not None else arm, records)
    return min(done, key=lambda point: done[point]) if done else None


def _losses(arm: Arm, records: Iterable[Record]) -> dict[Tuning, float]:
    """Final loss of every grid point tried on seed 0; infinite where it was given up."""
    found: dict[Tuning, float] = {}
    for r in of(records, arm.name, 0):
        outer, momentum, inner = r["tuning"]
        found[outer, momentum, inner] = math.inf if r["final_bits"] is None else float(r["final_bits"])
    return found


def ceiling_of(arm: Arm, scale: Scale, records: Sequence[Record]) -> dict[float, float]:
    """Where a run of the grid of ``arm`` is given up: round -> bits per byte."""
    finished = [r for r in of(records, arm.name, 0) if r["final_bits"] is not None]
    if not finished:
        return {}
    best = min(finished, key=lambda r: float(r["final_bits"]))
    half = scale.rounds / 2
    return {point[0]: point[4] + FAR_BEHIND for point in best["curve"] if half <= point[0] < scale.rounds}


def next_job(order: Sequence[tuple[str, int]], scale: Scale, records: Sequence[Record]) -> Job | None:
    """The first run that ``order`` asks for and ``records`` lacks.

    Args:
        order: (arm, seeds): the arm's grid, then its winner on that many seeds.
        records: of all scales.
    """
    ours = [r for r in records if r["scale"] == scale.name]
    for name, seeds in order:
        arm = arm_named(name)
        best = winner(arm, scale, records)
        if best is None and arm.like is None:
            point = next_point(arm, ours, starts_of(arm, scale, records))
            assert point is not None, f"{name} has neither a winner nor a next point"
            return Job(arm, point, 0)
        if best is None:
            continue  # the arm that it is like comes later in the order
        for seed in range(min(seeds, scale.seeds)):
            if not any(tuple(r["tuning"]) == best for r in of(ours, name, seed)):
                return Job(arm, best, seed)
    return None
