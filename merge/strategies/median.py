"""Median: at every element, the value in the middle.

Nearly half of the contributors may send anything they like. The price is noise: of K honest
values only one or two are used, so the result varies about as much as with 2K/3 of them.

K  updates in the round
P  elements of the segment being merged, flattened

Formula: at every element, the median of x_1 .. x_K; of an even number, half the sum of the two in the middle
Divisor: 1 or 2, the values in the middle; weights do not count.
Ties: none that matter, equal values are the same median.
Tolerates: fewer than K / 2; every element then lies among values that honest updates span.
Cost: one pass over the elements with a sorting network, K log^2 K comparisons each.
Source: Yin et al. 2018, https://arxiv.org/abs/1803.01498
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from merge.elementwise import median
from merge.strategies.rule import Rows, require_updates

__all__ = ["Median"]


@dataclass(frozen=True, slots=True)
class Median:
    """Coordinate-wise median."""

    name: ClassVar[str] = "median"

    @property
    def min_updates(self) -> int:
        return 1

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment.

        Args:
            deltas_KP: K tensors float32 [P], decoded updates, finite.
            weights_K: float32 [K], set by the coordinator. Not used: this rule trusts no weight.

        Returns:
            float32 [P], parameter minus base.

        Raises:
            NotEnoughUpdatesError: there are no updates.
        """
        require_updates(self, len(deltas_KP))
        return median(deltas_KP)
