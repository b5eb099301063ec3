"""FedAdagrad: steps shrink with the sum of all squared changes so far.

Elements that rarely change take long steps, and every element's steps become shorter with
time: for sparse changes and short runs.

P  elements of the segment being merged, flattened

Formula: m <- beta1 * m + (1 - beta1) * merged; v <- v + merged^2;
    step = learning_rate * m / (sqrt(v) + tau); m starts at 0, v at tau^2
Cost: one pass over the elements; remembers m and v, two vectors as long as the model.
Source: Reddi et al. 2021 (Adaptive Federated Optimization), https://arxiv.org/abs/2003.00295
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from merge.strategies.adaptive import SLOTS, adaptive_state, adaptive_step, require_adaptive, square
from merge.strategies.outer import State

__all__ = ["FedAdagrad"]


@dataclass(frozen=True, slots=True)
class FedAdagrad:
    """Adagrad over the merged changes of successive rounds.

    Attributes:
        learning_rate: outer learning rate, above 0; the step of an element that changes by much more than ``tau``.
        beta1: share of the last momentum that is kept, in [0, 1).
        tau: how far it adapts, in [1e-9, 1e9]: elements that change by much less are not sped up further.
    """

    name: ClassVar[str] = "fed-adagrad"
    slots: ClassVar[tuple[str, ...]] = SLOTS
    learning_rate: float = 1.0
    beta1: float = 0.9
    tau: float = 1e-3

    def __post_init__(self) -> None:
        require_adaptive(self)

    def initial(self, size: int) -> State:
        return adaptive_state(size, self.tau)

    def step(self, merged_P: Tensor, state: State) -> tuple[Tensor, State]:
        """One outer step.

        Args:
            merged_P: float32 [P], what the strategy made of the updates.
            state: ``momentum`` and ``squares``, as the last release left them.

        Returns:
            the step, float32 [P], and the next momentum and squares.
        """
        return adaptive_step(self, merged_P, state, torch.add(state["squares"], square(merged_P)))
