"""Outer rules, and none: the trunk takes the change that a round agreed on as it is.

To an outer rule the merged change is a gradient to go along, whichever strategy merged it;
what the rule remembers from round to round moves only with a release. This file has the
interface, and the rule ``none``.

P  elements of the segment being merged, flattened

Formula: step = merged
Cost: none.
Source: McMahan et al. 2017 (FedAvg), https://arxiv.org/abs/1602.05629
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

__all__ = ["OuterNone", "OuterRule", "State"]

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
