"""DARE: drop elements of each update by lot, rescale the rest, add.

Most of what fine-tuning changes is redundant: with the survivors divided by the probability
of surviving, every update keeps its expected value, and updates meet at fewer elements. The
lots are a hash of seed, update and place, so everybody who merges draws the same.

K  updates in the round
P  elements of the segment being merged, flattened

Formula: y_k = x_k / density with probability density, else 0; merged = scale * sum_k w_k * y_k / divisor,
    or with consensus = "ties" the elected side of the y_k as in ties
Divisor: the sum of the weights (with "ties" of those that agree), or 1 with divisor = "none".
Ties: none with "sum"; with "ties" equal votes go to the greater mass, equal masses change nothing.
Tolerates: none; one liar moves it at will.
Cost: one pass over the elements that draws, prunes and combines; no memory beside the result.
Source: Yu et al. 2023 (DARE; drop rate p = 1 - density, 0.9 in most of its tables), https://arxiv.org/abs/2311.03099
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from merge.draws import Draws
from merge.magnitudes import Magnitudes
from merge.prune import ByLot
from merge.strategies.consensus import Consensus
from merge.strategies.options import require
from merge.strategies.rule import Rows, require_updates

__all__ = ["Dare"]


@dataclass(frozen=True, slots=True)
class Dare:
    """Drop and rescale.

    Attributes:
        density: probability with which an element stays (one minus the drop rate), in [0.0001, 1].
        consensus: "sum" adds what is left; "ties" elects a direction first.
        elect: who wins in "ties": "mass", the greater weighted sum, or "count", more updates.
        scale: what the result is multiplied by, above 0.
        divisor: "weights" divides by the weights that take part, "none" by nothing.
    """

    name: ClassVar[str] = "dare"
    by_magnitude: ClassVar[bool] = False
    density: float = 0.1
    consensus: Literal["sum", "ties"] = "sum"
    elect: Literal["mass", "count"] = "mass"
    scale: float = 1.0
    divisor: Literal["weights", "none"] = "weights"

    def __post_init__(self) -> None:
        require(self, "density", 0.0001 <= self.density <= 1, "a share in [0.0001, 1]")
        require(self, "scale", 0 < self.scale < float("inf"), "a number above 0")

    @property
    def min_updates(self) -> int:
        return 1

    @property
    def agreement(self) -> Consensus:
        return Consensus(self.consensus, self.elect, self.divisor, self.scale)

    def pruning(self, magnitudes: Magnitudes | None, draws: Draws) -> ByLot:
        """What is kept of one update's tensor; ``magnitudes`` are not used."""
        return ByLot(self.density, draws)

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
