"""Breadcrumbs: drop the largest outliers and all the small elements of each update, add what lies between.

The small elements are noise; the very largest are outliers that one task pulls far, at the
price of the others. A narrow band of magnitudes between them carries most of what was learned.

K  updates in the round
P  elements of the segment being merged, flattened
n  elements of a whole tensor

Formula: y_k = x_k where the rank of |x_k| from the largest is in (gamma * n, (gamma + density) * n], else 0;
    merged = scale * sum_k w_k * y_k / divisor, or with consensus = "ties" the elected side of the y_k as in ties
Divisor: the sum of the weights (with "ties" of those that agree), or 1 with divisor = "none".
Ties: of equal magnitudes at the upper end none is dropped if all would be too many, at the lower end all are kept; both
    ends are found to 8 significant bits (an offline merge refines them and is exact).
Tolerates: none; one liar moves it at will, if only by elements of middling size.
Cost: two passes over the elements: one counts magnitudes, one prunes and combines. 0.4 MB for every update and tensor
    at most.
Source: Davari and Belilovsky 2023 (Model Breadcrumbs; beta = 1 - gamma - density is the share of small elements
    dropped), https://arxiv.org/abs/2312.06795
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from merge.draws import Draws
from merge.magnitudes import Magnitudes
from merge.prune import SLACK, BySize, kept
from merge.strategies.consensus import Consensus
from merge.strategies.options import require
from merge.strategies.rule import Rows, require_updates

__all__ = ["Breadcrumbs"]


@dataclass(frozen=True, slots=True)
class Breadcrumbs:
    """Keep the middle.

    Attributes:
        density: share of each tensor's elements that is kept, in (0, 1]; at least one element is.
        gamma: share of the largest elements that is dropped, in [0, 1 - density].
        consensus: "sum" adds what is left; "ties" elects a direction first.
        elect: who wins in "ties": "mass", the greater weighted sum, or "count", more updates.
        scale: what the result is multiplied by, above 0.
        divisor: "weights" divides by the weights that take part, "none" by nothing.
    """

    name: ClassVar[str] = "breadcrumbs"
    by_magnitude: ClassVar[bool] = True
    density: float = 0.14
    gamma: float = 0.01
    consensus: Literal["sum", "ties"] = "sum"
    elect: Literal["mass", "count"] = "mass"
    scale: float = 1.0
    divisor: Literal["weights", "none"] = "weights"

    def __post_init__(self) -> None:
        require(self, "density", 0 < self.density <= 1, "a share in (0, 1]")
        most = 1 - self.density + 1e-9
        require(self, "gamma", 0 <= self.gamma <= most, f"a share in [0, {1 - self.density:g}], which is 1 - density")
        require(self, "scale", 0 < self.scale < float("inf"), "a number above 0")

    @property
    def min_updates(self) -> int:
        return 1

    @property
    def agreement(self) -> Consensus:
        return Consensus(self.consensus, self.elect, self.divisor, self.scale)

    def cuts(self, elements: int) -> tuple[int, ...]:
        """Where the band begins and ends, counted from the largest: where magnitudes must be known best."""
        dropped = int(self.gamma * elements + SLACK)
        return dropped, min(elements, dropped + kept(self.density, elements))

    def pruning(self, magnitudes: Magnitudes | None, draws: Draws) -> BySize:
        """What is kept of one update's tensor; ``draws`` are not used."""
        assert magnitudes is not None, "breadcrumbs asks for magnitudes"
        return magnitudes.known(self, self._by_size)

    def _by_size(self, magnitudes: Magnitudes) -> BySize:
        dropped, last = self.cuts(magnitudes.elements)
        high = magnitudes.beyond(dropped) if dropped else float("inf")
        return BySize(low=magnitudes.largest(last), high=high)

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
