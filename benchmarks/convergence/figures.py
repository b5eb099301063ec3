"""From records to figures: the spread over seeds, bytes, and bytes to reach a loss.

One record is one run. A figure of an arm is taken over the runs of its winner, one for each seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.convergence.arms import Arm, Scale, Tuning
from benchmarks.convergence.schedule import best_point, winner

__all__ = ["Curve", "Figures", "bytes_to_reach", "figures_of", "mean_curve"]

Record = Mapping[str, Any]
Curve = Sequence[Sequence[float]]  # rows of (round, tokens, bytes up, bytes down, bits per byte)


@dataclass(frozen=True)
class Figures:
    """What is known of an arm.

    Attributes:
        tuning: the grid point that won, or is best so far. searched: whether the search of the grid is over.
        runs: one record for each seed, by seed.
        final: mean of the final bits per byte. spread: standard deviation over seeds; 0 with one seed.
        up, down: mean of total bytes.
        gaps: difference to the reference by seed, for the seeds that both have.
    """

    arm: Arm
    tuning: Tuning
    searched: bool
    runs: Mapping[int, Record]
    final: float
    spread: float
    up: float
    down: float
    gaps: Mapping[int, float]

    @property
    def behind(self) -> float | None:
        """Mean difference to the reference; None without a common seed."""
        return statistics.fmean(self.gaps.values()) if self.gaps else None

    @property
    def behind_spread(self) -> float:
        """Standard deviation over seeds of the difference to the reference; 0 with fewer than two."""
        return statistics.stdev(self.gaps.values()) if len(self.gaps) > 1 else 0.0

    def reach(self, target: float, *, down: bool) -> float:
        """Mean bytes up, or up and down, until ``target`` bits per byte; infinite if a run does not get there."""
        found = [bytes_to_reach(run["curve"], target, down=down) for run in self.runs.values()]
        return statistics.fmean(found)


def bytes_to_reach(curve: Curve, target: float, *, down: bool) -> float:
    """Bytes up, or up and down, when the curve first is at ``target``; linear between points, infinite if never."""
    sizes = [point[2] + (point[3] if down else 0) for point in curve]
    for i, point in enumerate(curve):
        if point[4] > target:
            continue
        if i == 0:
            return sizes[0]
        share = (curve[i - 1][4] - target) / (curve[i - 1][4] - point[4])
        return sizes[i - 1] + share * (sizes[i] - sizes[i - 1])
    return math.inf


def figures_of(arm: Arm, scale: Scale, records: Sequence[Record], reference: Figures | None = None) -> Figures | None:
    """The figures of an arm at a scale; None if it has not run. ``records`` are those of all scales."""
    ours = [r for r in records if r["scale"] == scale.name]
    tuning = best_point(arm, ours)
    runs = {
        r["seed"]: r
        for r in ours
        if r["arm"] == arm.name and r["final_bits"] is not None and tuple(r["tuning"]) == tuning
    }
    if tuning is None or not runs:
        return None
    finals = [float(run["final_bits"]) for run in runs.values()]
    common = sorted(set(runs) & set(reference.runs)) if reference is not None else []
    gaps = {seed: runs[seed]["final_bits"] - reference.runs[seed]["final_bits"] for seed in common if reference}
    return Figures(
        arm=arm,
        tuning=tuning,
        searched=winner(arm, scale, records) is not None,
        runs=dict(sorted(runs.items())),
        final=statistics.fmean(finals),
        spread=statistics.stdev(finals) if len(finals) > 1 else 0.0,
        up=statistics.fmean(float(run["up_bytes"]) for run in runs.values()),
        down=statistics.fmean(float(run["down_bytes"]) for run in runs.values()),
        gaps=gaps,
    )


def mean_curve(figures: Figures) -> list[list[float]]:
    """The mean over seeds, point by point."""
    curves = [run["curve"] for run in figures.runs.values()]
    return [[statistics.fmean(column) for column in zip(*points, strict=True)] for points in zip(*curves, strict=True)]
