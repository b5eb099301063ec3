"""FedYogi: FedAdam whose memory of large changes fades slowly and at an even pace.

Adam forgets a burst of large changes at a rate that grows with the burst; here the squares
move by at most one new square a round, so steps do not suddenly grow long.

P  elements of the segment being merged, flattened

Formula: m <- beta1 * m + (1 - beta1) * merged; v <- v - (1 - beta2) * merged^2 * sign(v - merged^2);
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

__all__ = ["FedYogi"]


@dataclass(frozen=True, slots=True)
class FedYogi:
    """Yogi over the merged changes of successive rounds.

    Attributes:
        learning_rate: outer learning rate, above 0; the step of an element that changes by much more than ``tau``.
        beta1: share of the last momentum that is kept, in [0, 1).
        beta2: share of the last squares that is kept, in [0, 1).
        tau: how far it adapts, in [1e-9, 1e9]: elements that change by much less are not sped up further.
    """

    name: ClassVar[str] = "fed-yogi"
    slots: ClassVar[tuple[str, ...]] = SLOTS
    learning_rate: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.99
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
        square_P = square(merged_P)
        toward_P = torch.mul(torch.sign(torch.sub(square_P, state["squares"])), square_P)
        squares_P = torch.add(state["squares"], torch.mul(toward_P, 1.0 - self.beta2))
        return adaptive_step(self, merged_P, state, squares_P)
