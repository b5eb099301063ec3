"""Rank correlation of two measurements of the same things, and how sure one is of it.

N  things
R  resamples

Source: Spearman 1904, https://doi.org/10.2307/1412159; Kendall 1945 (tau-b, for ties),
https://doi.org/10.1093/biomet/33.3.239; percentile bootstrap, Efron 1979, https://doi.org/10.1214/aos/1176344552.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["interval", "kendall", "spearman"]

RESAMPLES = 2000
Values = NDArray[np.float64]


def _ranks(values_N: Values) -> Values:
    """From 1 on; what is equal shares the mean of its ranks."""
    _, inverse_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse_N]


def spearman(x_N: Values, y_N: Values) -> float:
    """Correlation of ranks; NaN where either is constant."""
    a_N, b_N = _ranks(x_N), _ranks(y_N)
    a_N, b_N = a_N - a_N.mean(), b_N - b_N.mean()
    scale = math.sqrt(float(a_N @ a_N) * float(b_N @ b_N))
    return float(a_N @ b_N) / scale if scale else math.nan


def kendall(x_N: Values, y_N: Values) -> float:
    """Tau-b: pairs in the same order minus pairs in the opposite one, of all that are in any."""
    x_NN = np.sign(x_N[:, None] - x_N[None, :])
    y_NN = np.sign(y_N[:, None] - y_N[None, :])
    scale = math.sqrt(float((x_NN**2).sum()) * float((y_NN**2).sum()))
    return float((x_NN * y_NN).sum()) / scale if scale else math.nan


def interval(
    pairs: Sequence[tuple[Values, Values]], statistic: Callable[[Values, Values], float]
) -> tuple[float, float, float]:
    """The mean of a statistic over several tasks of the same things, and its 95% interval over things.

    Every resample draws things, the same ones for all tasks, for tasks are no more than views of them.
    """
    count = len(pairs[0][0])
    draws = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        picked_N = draws.integers(0, count, count)
        found.append(np.mean([statistic(x_N[picked_N], y_N[picked_N]) for x_N, y_N in pairs]))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(np.mean([statistic(x_N, y_N) for x_N, y_N in pairs])), float(low), float(high)
