"""Task arithmetic: the scaled sum of the updates.

An update is a direction that can be added, and with a negative weight subtracted: what a
model was taught can be taken away again. Divided by the weights, as here by default because a
round's weights count tokens, it is a scaled mean, and with scale 1 the mean bit for bit. The
paper's sum is ``divisor = "none"`` with weights of 1; its scale is chosen on held-out data,
most often 0.3 to 0.5.

K  updates in the round
P  elements of the segment being merged, flattened

Formula: merged = scale * sum_k w_k * x_k / divisor
Divisor: the sum of the weights, or 1 with divisor = "none": weights are then used as given, and may be negative.
Ties: none, nothing is compared.
Tolerates: none; one liar moves it at will.
Cost: one pass over the elements, no memory beside the result.
Source: Ilharco et al. 2022 (task vectors), https://arxiv.org/abs/2212.04089
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from merge.elementwise import weighted_sum
from merge.strategies.options import require
from merge.strategies.rule import Rows, require_updates, shares

__all__ = ["TaskArithmetic"]


@dataclass(frozen=True, slots=True)
class TaskArithmetic:
    """Scaled sum of the updates.

    Attributes:
        scale: what the sum is multiplied by, any finite number.
        divisor: "weights" divides by the sum of the weights, "none" by nothing.
    """

    name: ClassVar[str] = "task-arithmetic"
    scale: float = 1.0
    divisor: Literal["weights", "none"] = "weights"

    def __post_init__(self) -> None:
        require(self, "scale", abs(self.scale) < float("inf"), "a finite number")

    @property
    def min_updates(self) -> int:
        return 1

    def factors(self, weights_K: Tensor) -> Tensor:
        """What each update is multiplied by, float64 [K].

        Raises:
            MergeError: the weights cannot be normalised, and the divisor says that they should be.
        """
        shares_K = shares(weights_K) if self.divisor == "weights" else weights_K.to(torch.float64)
        return torch.mul(shares_K, self.scale)

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment.

        Args:
            deltas_KP: K tensors float32 [P], decoded updates, finite, in the order of their digests.
            weights_K: float [K].

        Returns:
            float32 [P], parameter minus base.

        Raises:
            NotEnoughUpdatesError: there are no updates.
            MergeError: the weights cannot be normalised.
        """
        require_updates(self, len(deltas_KP))
        return weighted_sum(deltas_KP, self.factors(weights_K).to(torch.float32))
