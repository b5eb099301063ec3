"""Two models on the same examples: which test and which interval fit the metric.

                          values are 0 and 1             any other value
    worse by a margin?    score test (proportions.py)    sign flips (resampling.py)
    any difference?       McNemar, exact (mcnemar.py)    sign flips, two-sided
    interval              inverse of the score test      bootstrap

The first question decides, the second is reported. Everything is said of the *worsening*: candidate
minus base where lower is better, and base minus candidate where higher is.

N  examples
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.acceptance.metric import BITS_PER_BYTE, SHARE, Metric
from coordinator.acceptance.statistics.mcnemar import any_difference, more_lost
from coordinator.acceptance.statistics.proportions import drop_interval, paired_drop
from coordinator.acceptance.statistics.resampling import LOWEST_P, below_zero, mean_interval

__all__ = ["METRICS", "SHOWN", "Changed", "changed", "difference_p", "interval", "not_worse_p", "worse_p", "worsening"]

Array = NDArray[np.float64]
Draws = Callable[[str], np.random.Generator]
"""Random numbers for a purpose: the same ones whenever it is asked."""

METRICS: Mapping[str, Metric] = {"loss": BITS_PER_BYTE, "accuracy": SHARE}
"""Metrics of kinds of tests, for scores that come without."""

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Changed:
    """Examples on which two models differ.

    Attributes:
        worse, better: how many; where values are 0 and 1, those that flipped.
        worst: indices of those that worsened most, ``SHOWN`` at most; ties in their order.
        best: the same of those that improved.
    """

    worse: int
    better: int
    worst: tuple[int, ...]
    best: tuple[int, ...]


def worsening(metric: Metric, base_N: Array, candidate_N: Array) -> Array:
    """How much worse the candidate is on each example, float64 [N]."""
    return base_N - candidate_N if metric.higher_is_better else candidate_N - base_N


def changed(worsening_N: Array) -> Changed:
    """What changed for the worse and for the better."""
    worse, better = int(np.count_nonzero(worsening_N > 0)), int(np.count_nonzero(worsening_N < 0))
    order = np.argsort(-worsening_N, kind="stable")
    backwards = np.argsort(worsening_N, kind="stable")
    worst = tuple(int(index) for index in order[: min(worse, SHOWN)])
    return Changed(worse, better, worst, tuple(int(index) for index in backwards[: min(better, SHOWN)]))


def not_worse_p(metric: Metric, worsening_N: Array, margin: float, draws: Draws) -> tuple[float, str]:
    """p-value against "worse by ``margin`` or more", and the name of the test."""
    found = changed(worsening_N)
    if metric.binary and margin > 0:
        p, name = paired_drop(found.worse, found.better, len(worsening_N), margin), "paired score test"
    elif metric.binary:
        p, name = more_lost(found.better, found.worse), "exact McNemar"
    else:
        p, name = below_zero(worsening_N - margin, draws("test")), "sign flips"
    return max(LOWEST_P, p), name


def worse_p(metric: Metric, worsening_N: Array, margin: float, draws: Draws) -> float:
    """p-value against "worse by ``margin`` at most": the other way round."""
    found = changed(worsening_N)
    if metric.binary and margin > 0:
        return max(LOWEST_P, 1 - paired_drop(found.worse, found.better, len(worsening_N), margin))
    if metric.binary:
        return max(LOWEST_P, more_lost(found.worse, found.better))
    return below_zero(margin - worsening_N, draws("probe"))


def difference_p(metric: Metric, worsening_N: Array, draws: Draws) -> float:
    """Two-sided p-value against "no difference on average"."""
    if metric.binary:
        found = changed(worsening_N)
        return any_difference(found.worse, found.better)
    if not worsening_N.any():
        return 1.0
    random = draws("difference")
    return min(1.0, 2 * min(below_zero(worsening_N, random), below_zero(-worsening_N, random)))


def interval(metric: Metric, worsening_N: Array, confidence: float, draws: Draws) -> tuple[float, float]:
    """Bounds of the mean worsening at ``confidence``; nothing is open where no example differs."""
    if not worsening_N.any():
        return 0.0, 0.0
    if metric.binary:
        found = changed(worsening_N)
        return drop_interval(found.worse, found.better, len(worsening_N), confidence)
    return mean_interval(worsening_N, confidence, draws("interval"))
