"""Krum: the one update that has the nearest company.

Every update is scored by the squared distances to its nearest neighbours, as many as are
honest in the worst case, and the lowest score wins. Liars can only win by being close to
the honest. The price: what all the other honest updates learned is thrown away, and honest
updates that differ much (as with different data) make it choose a mediocre one.

K  updates in the round, in the order of their digests
P  elements of the segment being merged, flattened

Formula: merged = x_i with the lowest sum of |x_i - x_j|^2 over its K - liars - 2 nearest x_j (at least 2 of them)
Divisor: none, the update is taken as it is; weights do not count.
Ties: of equal scores the lowest digest position wins.
Tolerates: liars of K, given K >= 2 * liars + 3.
Cost: inner products of all pairs (K^2 / 2 multiplications an element), then one copy of one update.
Source: Blanchard et al. 2017, https://arxiv.org/abs/1703.02757
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from merge.elementwise import weighted_sum
from merge.exact import tree_sum
from merge.strategies.distances import nearest_first, squares_between
from merge.strategies.options import require
from merge.strategies.rule import Rows, Scope, require_updates

__all__ = ["Krum", "krum_order"]


@dataclass(frozen=True, slots=True)
class Krum:
    """The update with the lowest score, unchanged.

    Attributes:
        liars: how many updates may be lies, a whole number, at least 0.
    """

    name: ClassVar[str] = "krum"
    scope: ClassVar[Scope] = "model"
    linear: ClassVar[bool] = True
    liars: int = 1

    def __post_init__(self) -> None:
        require(self, "liars", self.liars >= 0, "a whole number, at least 0")

    @property
    def min_updates(self) -> int:
        return 2 * self.liars + 3

    def weigh(self, gram_KK: Tensor, weights_K: Tensor) -> Tensor:
        """1 for the update that is chosen and 0 for the others, float64 [K].

        Args:
            gram_KK: float64 [K, K], inner products of the updates.
            weights_K: float64 [K]. Not used: this rule trusts no weight.

        Raises:
            NotEnoughUpdatesError: K is below ``min_updates``.
        """
        require_updates(self, len(weights_K))
        chosen_K = torch.zeros_like(weights_K)
        chosen_K[krum_order(squares_between(gram_KK), self.liars)[0]] = 1.0
        return chosen_K

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment, float32 [P]; ``weights_K``, float32 [K], are those of :meth:`weigh`."""
        return weighted_sum(deltas_KP, weights_K)


def krum_order(squares_KK: Tensor, liars: int) -> list[int]:
    """Positions by Krum's score, lowest first.

    The distances of an update are added from the nearest on, so equal sets of distances give
    equal scores in whatever order the updates come. With K below 2 * liars + 3, as Bulyan has it
    in the end, liars + 1 neighbours are counted: more than liars can be for each other. With one
    neighbour the nearest pair would always be equal, so at least two are counted.

    Args:
        squares_KK: float64 [K, K], squared distances.
        liars: how many may lie; K - liars - 2 neighbours are counted.
    """
    count = len(squares_KK)
    neighbours = min(count - 1, max(2, liars + 1, count - liars - 2))
    others_KK = squares_KK.clone()
    others_KK.fill_diagonal_(float("inf"))
    nearest_KK = torch.sort(others_KK, dim=1).values[:, :neighbours]
    return nearest_first(tree_sum(nearest_KK).tolist())
