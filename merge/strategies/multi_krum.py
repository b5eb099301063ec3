"""Multi-Krum: the mean of the updates that have the nearest company.

Krum's scores, but the several lowest are averaged: with liars few and far away this is
nearly the mean of the honest ones. The more are kept, the less of the honest work is
lost and the closer a liar may come.

K  updates in the round, in the order of their digests
P  elements of the segment being merged, flattened

Formula: merged = the mean of the `keep` updates with the lowest Krum scores; K - liars of them if keep is 0
Divisor: how many are kept; weights do not count.
Ties: of equal scores the lowest digest position is kept.
Tolerates: liars of K, given K >= 2 * liars + 3; with keep <= K - liars - 2 as in the paper's proof,
    with more as in its experiments (a liar that is kept lies no further off than an honest update might).
Cost: inner products of all pairs (K^2 / 2 multiplications an element), then one pass over the elements.
Source: Blanchard et al. 2017, https://arxiv.org/abs/1703.02757
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from merge.elementwise import weighted_sum
from merge.strategies.distances import squares_between
from merge.strategies.krum import krum_order
from merge.strategies.options import require
from merge.strategies.rule import Rows, Scope, require_updates

__all__ = ["MultiKrum"]


@dataclass(frozen=True, slots=True)
class MultiKrum:
    """The mean of the updates with the lowest Krum scores.

    Attributes:
        liars: how many updates may be lies, a whole number, at least 0.
        keep: how many updates are averaged, a whole number, at least 0; 0 stands for all but ``liars``.
    """

    name: ClassVar[str] = "multi-krum"
    scope: ClassVar[Scope] = "model"
    linear: ClassVar[bool] = True
    liars: int = 1
    keep: int = 0

    def __post_init__(self) -> None:
        require(self, "liars", self.liars >= 0, "a whole number, at least 0")
        require(self, "keep", self.keep >= 0, "a whole number, at least 0")

    @property
    def min_updates(self) -> int:
        """Enough for Krum's scores, and for keeping no more than are honest in the worst case."""
        return max(2 * self.liars + 3, self.keep + self.liars)

    def weigh(self, gram_KK: Tensor, weights_K: Tensor) -> Tensor:
        """The share of each update that is kept and 0 for the others, float64 [K].

        Args:
            gram_KK: float64 [K, K], inner products of the updates.
            weights_K: float64 [K]. Not used: this rule trusts no weight.

        Raises:
            NotEnoughUpdatesError: K is below ``min_updates``.
        """
        require_updates(self, len(weights_K))
        keep = self.keep or len(weights_K) - self.liars
        shares_K = torch.zeros_like(weights_K)
        shares_K[krum_order(squares_between(gram_KK), self.liars)[:keep]] = 1.0 / keep
        return shares_K

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment, float32 [P]; ``weights_K``, float32 [K], are those of :meth:`weigh`."""
        return weighted_sum(deltas_KP, weights_K)
