"""Mean: the weighted average of the updates.

The best rule when everybody is honest, and no defence when somebody is not: one update
moves the result as far as it likes, so it leans on norm clipping and on acceptance tests.

K  updates in the round
P  elements of the segment being merged, flattened

Formula: merged = sum_k w_k * x_k / sum_k w_k
Divisor: the sum of the weights.
Ties: none, nothing is compared.
Tolerates: nobody; with norm clipping a liar moves it by at most its share of the clipping limit.
Cost: one pass over the elements, no memory beside the result.
Source: McMahan et al. 2017 (FedAvg), https://arxiv.org/abs/1602.05629
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from merge.strategies.rule import Rows, require_updates, shares, shares_of

if TYPE_CHECKING:  # an offline merge that only adds models up does without torch
    from torch import Tensor

__all__ = ["Mean"]


@dataclass(frozen=True, slots=True)
class Mean:
    """Weighted average (FedAvg)."""

    name: ClassVar[str] = "mean"

    @property
    def min_updates(self) -> int:
        return 1

    def factors(self, weights: Sequence[float]) -> list[float]:
        """The updates' shares of the weight.

        Raises:
            MergeError: the weights cannot be normalised.
        """
        return shares_of(weights)

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment.

        Multiplies and adds are separate float32 operations in the order of the rows, so no
        processor fuses them and every machine rounds alike.

        Args:
            deltas_KP: K tensors float32 [P], decoded updates, finite, in the order of their digests.
            weights_K: float32 [K], set by the coordinator; only their ratios matter.

        Returns:
            float32 [P], parameter minus base.

        Raises:
            NotEnoughUpdatesError: there are no updates.
            MergeError: the weights cannot be normalised.
        """
        from merge.elementwise import weighted_sum

        require_updates(self, len(deltas_KP))
        return weighted_sum(deltas_KP, shares(weights_K).float())
