"""What to run next, decided from the records that are there: so a killed experiment continues.

An arm's grid is searched on seed 0; the point with the lowest final loss runs on the other
seeds. A grid run is given up half-way when it is far behind the best one of its arm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.convergence.arms import Arm, Scale, arm_named

__all__ = ["Job", "ceiling_of", "next_job", "whole_order", "winner"]

Record = Mapping[str, Any]
FAR_BEHIND = 0.15  # bits per byte


@dataclass(frozen=True)
class Job:
    """One run: an arm at one grid point."""

    arm: Arm
    tuning: tuple[float, float]
    seed: int


def whole_order(names: Sequence[str], seeds: int) -> list[tuple[str, int]]:
    """Every arm on one seed, then every arm on the next: what is there when it is stopped is comparable."""
    return [(name, most) for most in range(1, seeds + 1) for name in names]


def of(records: Iterable[Record], arm: str, seed: int) -> list[Record]:
    return [r for r in records if r["arm"] == arm and r["seed"] == seed]


def winner(arm: Arm, records: Sequence[Record]) -> tuple[float, float] | None:
    """The grid point with the lowest final loss on seed 0, once its grid is done."""
    if arm.like is not None:
        return winner(arm_named(arm.like), records)
    done = {tuple(r["tuning"]): r["final_bits"] for r in of(records, arm.name, 0)}
    finished = {tuning: bits for tuning, bits in done.items() if bits is not None}
    if not finished or set(arm.grid()) - set(done):
        return None
    first, second = min(finished, key=lambda tuning: finished[tuning])
    return first, second


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
    """
    ours = [r for r in records if r["scale"] == scale.name]
    for name, seeds in order:
        arm = arm_named(name)
        best = winner(arm, ours)
        if best is None and arm.like is None:
            tried = {tuple(r["tuning"]) for r in of(ours, name, 0)}
            return Job(arm, next(tuning for tuning in arm.grid() if tuning not in tried), 0)
        if best is None:
            continue  # its model arm comes later in the order
        for seed in range(min(seeds, scale.seeds)):
            if not any(tuple(r["tuning"]) == best for r in of(ours, name, seed)):
                return Job(arm, best, seed)
    return None
