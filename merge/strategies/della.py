"""DELLA: drop elements by lot, small ones more often than large ones, rescale the rest, add or elect.

Between DARE, which drops blindly, and TIES, which keeps the largest: the probability of
staying grows with the rank of an element's magnitude in its tensor. Every element is divided
by its own probability, so every update keeps its expected value. Ranks are known to 8
significant bits of the magnitude, which moves a probability by less than epsilon / 100; ties
share the rank in their middle.

K  updates in the round
P  elements of the segment being merged, flattened

Formula: q = density + epsilon * (rank - 1/2), rank in [0, 1] by magnitude; y_k = x_k / q with probability q, else 0;
    merged = scale * the elected side of the y_k as in ties, or with consensus = "sum" sum_k w_k * y_k / divisor
Divisor: the sum of the weights (with "ties" of those that agree), or 1 with divisor = "none".
Ties: equal magnitudes have equal probabilities; equal votes go to the greater mass, equal masses change nothing.
Tolerates: none; one liar moves it at will.
Cost: two passes over the elements: one counts magnitudes, one draws, prunes and combines. 0.4 MB for every update and
    tensor at most.
Source: Deep et al. 2024 (DELLA-Merging, MAGPRUNE; drop rate p = 1 - density, window epsilon; it ranks within the rows
    of a matrix, here within the tensor), https://arxiv.org/abs/2406.11617
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from merge.draws import Draws
from merge.magnitudes import Magnitudes
from merge.prune import ByLotAndSize
from merge.strategies.consensus import Consensus
from merge.strategies.options import require
from merge.strategies.rule import Rows, require_updates

__all__ = ["Della"]


@dataclass(frozen=True, slots=True)
class Della:
    """Drop by magnitude and lot, rescale, elect.

    Attributes:
        density: mean probability with which an element stays, in [0.0001, 1].
        epsilon: width of the window of probabilities around it, at least 0; the window lies in [0.0001, 1].
        consensus: "sum" adds what is left; "ties" elects a direction first.
        elect: who wins in "ties": "mass", the greater weighted sum, or "count", more updates.
        scale: what the result is multiplied by, above 0.
        divisor: "weights" divides by the weights that take part, "none" by nothing.
    """

    name: ClassVar[str] = "della"
    by_magnitude: ClassVar[bool] = True
    density: float = 0.3
    epsilon: float = 0.2
    consensus: Literal["sum", "ties"] = "ties"
    elect: Literal["mass", "count"] = "mass"
    scale: float = 1.0
    divisor: Literal["weights", "none"] = "weights"

    def __post_init__(self) -> None:
        require(self, "density", 0.0001 <= self.density <= 1, "a share in [0.0001, 1]")
        require(self, "scale", 0 < self.scale < float("inf"), "a number above 0")
        widest = 2 * min(self.density - 0.0001, 1 - self.density) + 1e-9
        fits = f"a width in [0, {widest:.4g}], so that density {self.density:g} +- epsilon / 2 lies in [0.0001, 1]"
        require(self, "epsilon", 0 <= self.epsilon <= widest, fits)

    @property
    def min_updates(self) -> int:
        return 1

    @property
    def agreement(self) -> Consensus:
        return Consensus(self.consensus, self.elect, self.divisor, self.scale)

    def pruning(self, magnitudes: Magnitudes | None, draws: Draws) -> ByLotAndSize:
        """What is kept of one update's tensor."""
        assert magnitudes is not None, "della asks for magnitudes"
        return ByLotAndSize(magnitudes.known(self, self._keeps), draws)

    def _keeps(self, magnitudes: Magnitudes) -> Tensor:
        """Probabilities of staying, float32 by the upper 16 bits of a magnitude."""
        shifted = torch.mul(torch.sub(magnitudes.ranks(), 0.5), self.epsilon)
        return torch.add(shifted, self.density).clamp(max=1.0).to(torch.float32)

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Combine updates that were pruned before.

        Args:
            deltas_KP: K tensors float32 [P], finite, in the order of their digests.
            weights_K: float [K].

        Returns:
            float32 [P], parameter minus base.

        Raises:
            NotEnoughUpdatesError: there are no updates.
            MergeError: the weights cannot be normalised.
        """
        require_updates(self, len(deltas_KP))
        return self.agreement.combine(deltas_KP, weights_K)
