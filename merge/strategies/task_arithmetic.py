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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from merge.strategies.options import require
from merge.strategies.rule import Rows, require_updates, shares_of

if TYPE_CHECKING:  # an offline merge that only adds models up does without torch
    from torch import Tensor

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

    def factors(self, weights: Sequence[float]) -> list[float]:
        """What each update is multiplied by.

        Raises:
            MergeError: the weights cannot be normalised, and the divisor says that they should be.
        """
        parts = shares_of(weights) if self.divisor == "weights" else weights
        return [part * self.scale for part in parts]

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
        from merge.elementwise import weighted_sum

        require_updates(self, len(deltas_KP))
        factors_K = self.factors(weights_K.double().tolist())
        return weighted_sum(deltas_KP, weights_K.new_tensor(factors_K).float())
