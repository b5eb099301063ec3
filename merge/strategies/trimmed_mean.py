"""Trimmed mean: at every element, drop the extremes and average the rest.

Survives up to ``trim * K`` contributors who send anything they like, at the price of
ignoring that share of the honest ones too. The share is of the updates that came, so the
rule grows with the round.

K  updates in the round
P  elements of the segment being merged, flattened

Formula: at every element, the mean of the values left when floor(trim * K) at each end are dropped
Divisor: how many values are kept; weights do not count.
Ties: none that matter, equal values give the same sum whichever is dropped.
Tolerates: floor(trim * K) of K; every element then lies among values that honest updates span.
Cost: one pass over the elements with a sorting network, K log^2 K comparisons each.
Source: Yin et al. 2018, https://arxiv.org/abs/1803.01498
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from merge.elementwise import trimmed_mean
from merge.strategies.options import require
from merge.strategies.rule import Rows, require_updates

__all__ = ["TrimmedMean"]

LEAST = 0.001
SLACK = 1e-9  # 0.29 * 100 is 28.999999999999996 in binary, and means 29


@dataclass(frozen=True, slots=True)
class TrimmedMean:
    """Coordinate-wise trimmed mean.

    Attributes:
        trim: share of updates dropped at *each* end: 0, or in [0.001, 0.5).
    """

    name: ClassVar[str] = "trimmed-mean"
    trim: float = 0.2

    def __post_init__(self) -> None:
        in_range = self.trim == 0 or LEAST <= self.trim < 0.5
        require(self, "trim", in_range, f"0 or a share in [{LEAST}, 0.5)")

    @property
    def min_updates(self) -> int:
        """Fewest updates of which at least one is dropped at each end."""
        return math.ceil((1 - SLACK) / self.trim) if self.trim > 0 else 1

    def dropped(self, updates: int) -> int:
        """How many of ``updates`` values are dropped at each end."""
        return math.floor(self.trim * updates + SLACK)

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment.

        The values that are kept are added in ascending order, so the result does not depend
        on the order of the updates at all.

        Args:
            deltas_KP: K tensors float32 [P], decoded updates, finite.
            weights_K: float32 [K], set by the coordinator. Not used: this rule trusts no weight.

        Returns:
            float32 [P], parameter minus base.

        Raises:
            NotEnoughUpdatesError: K is below ``min_updates``.
        """
        require_updates(self, len(deltas_KP))
        return trimmed_mean(deltas_KP, self.dropped(len(deltas_KP)))
