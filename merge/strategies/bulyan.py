"""Bulyan: Krum chooses the company, then every element is averaged around its median.

Krum looks at whole updates, and in millions of elements a liar can be near enough as a
whole and far off in one element. So Krum only selects, one update after another, and what
is selected votes element by element: only the values nearest the median count.

K  updates in the round, in the order of their digests
S  updates that are selected, K - 2 * liars
P  elements of the segment being merged, flattened

Formula: select S = K - 2 * liars updates by taking Krum's choice away again and again; then, at every
    element, the mean of the S - 2 * liars selected values nearest their median
Divisor: S - 2 * liars; weights do not count.
Ties: of equal scores the lowest digest position; of two values equally near the median, the lower value.
Tolerates: liars of K, given K >= 4 * liars + 3; every element lies among values of honest updates.
Cost: inner products of all pairs, K rounds of Krum on K by K numbers, one pass with a sorting network.
Source: El Mhamdi et al. 2018, https://arxiv.org/abs/1802.07927
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from merge.elementwise import near_median_mean
from merge.strategies.distances import squares_between
from merge.strategies.krum import krum_order
from merge.strategies.options import require
from merge.strategies.rule import Rows, Scope, require_updates

__all__ = ["Bulyan"]


@dataclass(frozen=True, slots=True)
class Bulyan:
    """Selection by Krum, then a mean around the median.

    Attributes:
        liars: how many updates may be lies, a whole number, at least 0.
    """

    name: ClassVar[str] = "bulyan"
    scope: ClassVar[Scope] = "model"
    linear: ClassVar[bool] = False
    liars: int = 1

    def __post_init__(self) -> None:
        require(self, "liars", self.liars >= 0, "a whole number, at least 0")

    @property
    def min_updates(self) -> int:
        return 4 * self.liars + 3

    def weigh(self, gram_KK: Tensor, weights_K: Tensor) -> Tensor:
        """1 for every update that is selected and 0 for the others, float64 [K].

        Krum counts neighbours among those that are left: their number less liars + 2, and in the
        last selections, where that would fall below, liars + 1.

        Args:
            gram_KK: float64 [K, K], inner products of the updates.
            weights_K: float64 [K]. Not used: this rule trusts no weight.

        Raises:
            NotEnoughUpdatesError: K is below ``min_updates``.
        """
        require_updates(self, len(weights_K))
        squares_KK = squares_between(gram_KK)
        left, selected_K = list(range(len(weights_K))), torch.zeros_like(weights_K)
        for _ in range(len(weights_K) - 2 * self.liars):
            best = krum_order(squares_KK[left][:, left], self.liars)[0]
            selected_K[left.pop(best)] = 1.0
        return selected_K

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment.

        Args:
            deltas_KP: K tensors float32 [P], decoded updates, finite, in the order of their digests.
            weights_K: float32 [K] as :meth:`weigh` made them; updates above 0 are selected.

        Returns:
            float32 [P], parameter minus base.
        """
        selected = [delta_P for delta_P, weight in zip(deltas_KP, weights_K.tolist(), strict=True) if weight > 0]
        return near_median_mean(selected, len(selected) - 2 * self.liars)
