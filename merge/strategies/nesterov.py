"""Outer Nesterov: momentum over merged changes, looking one step ahead.

The outer optimiser of DiLoCo. With learning rate 1 and momentum 0 it is ``none``, bit for bit.

P  elements of the segment being merged, flattened

Formula: m <- momentum * m + merged; step = learning_rate * (merged + momentum * m)
Cost: one pass over the elements; remembers m, one vector as long as the model.
Source: Douillard et al. 2023 (DiLoCo), https://arxiv.org/abs/2311.08105
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from merge.strategies.options import require
from merge.strategies.outer import State

__all__ = ["OuterNesterov"]


@dataclass(frozen=True, slots=True)
class OuterNesterov:
    """Nesterov momentum over the merged changes of successive rounds.

    Attributes:
        learning_rate: outer learning rate, above 0.
        momentum: share of the last momentum that is kept, in [0, 1).
    """

    name: ClassVar[str] = "outer-nesterov"
    slots: ClassVar[tuple[str, ...]] = ("momentum",)
    learning_rate: float = 1.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        require(self, "learning_rate", 0 < self.learning_rate < float("inf"), "a number above 0")
        require(self, "momentum", 0 <= self.momentum < 1, "a share in [0, 1)")

    def initial(self, size: int) -> State:
        return {"momentum": torch.zeros(size)}

    def step(self, merged_P: Tensor, state: State) -> tuple[Tensor, State]:
        """One outer step.

        Args:
            merged_P: float32 [P], what the strategy made of the updates.
            state: ``momentum``, as the last release left it.

        Returns:
            the step and the next momentum. Without momentum there is none to keep, and it comes
            back as zeros.
        """
        if self.momentum == 0:
            return torch.mul(merged_P, self.learning_rate), {"momentum": torch.zeros_like(merged_P)}
        next_P = torch.add(torch.mul(state["momentum"], self.momentum), merged_P)
        ahead_P = torch.add(merged_P, torch.mul(next_P, self.momentum))
        return torch.mul(ahead_P, self.learning_rate), {"momentum": next_P}
