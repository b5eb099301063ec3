"""Outer rules: what the trunk does with the change that a round agreed on.

``none`` adds it as it is. ``outer-nesterov`` treats it as a gradient and takes a step with
Nesterov momentum, over whichever strategy merged it. With learning rate 1 and momentum 0
the two are the same, bit for bit.

P  elements of the segment being merged, flattened

Source: Douillard et al. 2023 (DiLoCo), https://arxiv.org/abs/2311.08105
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["OuterNesterov", "OuterNone"]


@dataclass(frozen=True, slots=True)
class OuterNone:
    """The step is the merged change."""

    name: ClassVar[str] = "none"

    def step(self, merged_P: Tensor, momentum_P: Tensor) -> tuple[Tensor, Tensor]:
        """``merged_P``, and no momentum, float32 [P] each."""
        return merged_P, torch.zeros_like(momentum_P)


@dataclass(frozen=True, slots=True)
class OuterNesterov:
    """Nesterov momentum over the merged changes of successive rounds.

    Attributes:
        learning_rate: outer learning rate, above 0.
        momentum: share of the last momentum that is kept, in [0, 1).
    """

    name: ClassVar[str] = "outer-nesterov"
    learning_rate: float = 1.0
    momentum: float = 0.0

    def step(self, merged_P: Tensor, momentum_P: Tensor) -> tuple[Tensor, Tensor]:
        """One outer step.

            momentum' = momentum * momentum_P + merged_P
            step      = learning_rate * (merged_P + momentum * momentum')

        Args:
            merged_P: float32 [P], what the strategy made of the updates.
            momentum_P: float32 [P], as the last release left it; zeros at the start.

        Returns:
            the step and the next momentum, float32 [P] each. Without momentum there is none to
            keep, and it comes back as zeros.
        """
        if self.momentum == 0:
            return torch.mul(merged_P, self.learning_rate), torch.zeros_like(momentum_P)
        next_P = torch.add(torch.mul(momentum_P, self.momentum), merged_P)
        ahead_P = torch.add(merged_P, torch.mul(next_P, self.momentum))
        return torch.mul(ahead_P, self.learning_rate), next_P
