"""TIES: keep the largest elements of each update, elect a direction at every element, average who agrees.

Small changes are mostly noise that interferes with the large ones of others, and updates that
pull in opposite directions cancel. Trimming removes the first, electing the second.

K  updates in the round
P  elements of the segment being merged, flattened
n  elements of a whole tensor

Formula: y_k = x_k where |x_k| is among the density * n largest of its tensor, else 0;
    side = sign(sum_k w_k * y_k); merged = scale * sum of w_k * y_k over the y_k on that side / divisor
Divisor: at every element, the sum of the weights of the updates that are not 0 there and agree with the elected side;
    1 with divisor = "none".
Ties: elements as large as the last one that is kept are kept too; the last one is found to 8 significant bits, so
    up to a few in a thousand more are kept (an offline merge refines it and is exact). Equal votes go to the greater
    mass, equal masses change nothing.
Tolerates: none; one liar who sends large values is elected everywhere.
Cost: two passes over the elements: one counts magnitudes, one prunes and combines. 0.4 MB for every update and tensor
    at most.
Source: Yadav et al. 2023 (TIES-Merging; density 0.2 and scale 1 when nothing can be tuned),
    https://arxiv.org/abs/2306.01708
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from merge.draws import Draws
from merge.magnitudes import Magnitudes
from merge.prune import BySize, kept
from merge.strategies.consensus import Consensus
from merge.strategies.options import require
from merge.strategies.rule import Rows, require_updates

__all__ = ["Ties"]


@dataclass(frozen=True, slots=True)
class Ties:
    """Trim, elect, disjoint mean.

    Attributes:
        density: share of each tensor's elements that is kept, in (0, 1]; at least one element is.
        elect: who wins: "mass", the greater weighted sum, or "count", more updates.
        scale: what the result is multiplied by, above 0.
        divisor: "weights" divides by the weights that agree, "none" by nothing.
    """

    name: ClassVar[str] = "ties"
    by_magnitude: ClassVar[bool] = True
    density: float = 0.2
    elect: Literal["mass", "count"] = "mass"
    scale: float = 1.0
    divisor: Literal["weights", "none"] = "weights"

    def __post_init__(self) -> None:
        require(self, "density", 0 < self.density <= 1, "a share in (0, 1]")
        require(self, "scale", 0 < self.scale < float("inf"), "a number above 0")

    @property
    def min_updates(self) -> int:
        return 1

    @property
    def agreement(self) -> Consensus:
        return Consensus("ties", self.elect, self.divisor, self.scale)

    def cuts(self, elements: int) -> tuple[int, ...]:
        """How many of a tensor's elements are kept: where magnitudes must be known best."""
        return (kept(self.density, elements),)

    def pruning(self, magnitudes: Magnitudes | None, draws: Draws) -> BySize:
        """What is kept of one update's tensor; ``draws`` are not used."""
        assert magnitudes is not None, "ties asks for magnitudes"
        return magnitudes.known(self, self._by_size)

    def _by_size(self, magnitudes: Magnitudes) -> BySize:
        (count,) = self.cuts(magnitudes.elements)
        return BySize(low=magnitudes.largest(count))

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
