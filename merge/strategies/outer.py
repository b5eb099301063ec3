"""Outer rules: what the trunk does with the change that a round agreed on.

``none`` adds it as it is. ``outer-nesterov`` treats it as a gradient and takes a step with
Nesterov momentum, over whichever strategy merged it. With learning rate 1 and momentum 0
the two are the same, bit for bit.

P  elements of the segment being merged, flattened

Source: Douillard et al. 2023 (DiLoCo), https://arxiv.org/abs/2311.08105
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

__all__ = ["OuterNesterov", "OuterNone", "OuterRule", "State"]

State = Mapping[str, Tensor]
"""What an outer rule remembers from release to release: float32 [P] by the name of its slot."""


class OuterRule(Protocol):
    """How the merged change becomes a step of the trunk.

    Attributes:
        slots: names of what it remembers; none, one or several vectors as long as the model.
    """

    name: ClassVar[str]
    slots: ClassVar[tuple[str, ...]]

    def initial(self, size: int) -> State:
        """What it remembers before the first round, float32 [size] for every slot."""
        ...

    def step(self, merged_P: Tensor, state: State) -> tuple[Tensor, State]:
        """The step, float32 [P], and what to remember. The arguments are not changed."""
        ...


@dataclass(frozen=True, slots=True)
class OuterNone:
    """The step is the merged change."""

    name: ClassVar[str] = "none"
    slots: ClassVar[tuple[str, ...]] = ()

    def initial(self, size: int) -> State:
        return {}

    def step(self, merged_P: Tensor, state: State) -> tuple[Tensor, State]:
        """``merged_P``, and nothing to remember."""
        return merged_P, {}


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

    def initial(self, size: int) -> State:
        return {"momentum": torch.zeros(size)}

    def step(self, merged_P: Tensor, state: State) -> tuple[Tensor, State]:
        """One outer step.

            momentum' = momentum * state + merged_P
            step      = learning_rate * (merged_P + momentum * momentum')

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
