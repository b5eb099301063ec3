"""What can be said about a mean by shuffling the differences that were observed.

No distribution is assumed. The draws come from a seeded generator, so a verdict can be
computed again from the scores and comes out alike.

Under sign flips the sum of squares stays what it is, so the studentised mean rises with the
plain sum, and both order the flips alike: the test below is the studentised one, which
keeps its level for large samples even where differences are skewed.

N  examples

Source: Janssen 1997, Statistics & Probability Letters 36, 9-21 (studentised sign flips);
Phipson & Smyth 2010, https://arxiv.org/abs/1603.05766 (why 1 is added to both counts);
Efron 1979, Annals of Statistics 7, 1-26 (bootstrap).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWS", "LOWEST_P", "below_zero", "mean_interval"]

DRAWS = 9_999
LOWEST_P = 1 / (DRAWS + 1)


def below_zero(values_N: NDArray[np.float64], random: np.random.Generator) -> float:
    """p-value against "the mean is zero or more": small when it is clearly below zero.

    Args:
        values_N: float64 [N], independent differences, finite.
        random: of the sign flips.

    Returns:
        share of ``DRAWS`` random sign patterns with a sum as low as the one observed.
    """
    signs = random.integers(0, 2, size=(DRAWS, len(values_N)), dtype=np.int8) * 2.0 - 1.0
    rounding = 1e-9 * float(np.abs(values_N).sum())  # ties count against us, however sums are rounded
    as_low = np.count_nonzero(signs @ values_N <= values_N.sum() + rounding)
    return (1 + int(as_low)) / (DRAWS + 1)


def mean_interval(values_N: NDArray[np.float64], confidence: float, random: np.random.Generator) -> tuple[float, float]:
    """Bootstrap percentile interval of the mean.

    Args:
        values_N: float64 [N], finite.
        confidence: share of resampled means inside, such as 0.9.
        random: of the resamples.
    """
    picked = random.integers(0, len(values_N), size=(DRAWS, len(values_N)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(values_N[picked].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)
