"""What a strategy and an outer rule are: two interfaces, and the weights that they share.

A strategy turns the updates of a round into one change, element by element. An outer rule
turns that change into the step that the trunk takes. Both are frozen dataclasses: the fields
are hyperparameters, the mathematics is one method.

K  updates in the round, in the order of their digests
P  elements of the segment (or of a block of it) being merged, flattened
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from barnraise.errors import MergeError, NotEnoughUpdatesError

__all__ = ["OuterRule", "Strategy", "require_updates", "shares"]


class Strategy(Protocol):
    """How updates become one change. Element-wise, so a segment may be merged block by block."""

    name: ClassVar[str]

    @property
    def min_updates(self) -> int:
        """Fewest updates with which the rule keeps its promise."""
        ...

    def combine(self, deltas_KP: Tensor, weights_K: Tensor) -> Tensor:
        """Merge float32 [K, P] into float32 [P]."""
        ...


class OuterRule(Protocol):
    """How the merged change becomes a step of the trunk."""

    name: ClassVar[str]

    def step(self, merged_P: Tensor, momentum_P: Tensor) -> tuple[Tensor, Tensor]:
        """The step and the next momentum, float32 [P] each."""
        ...


def require_updates(strategy: Strategy, found: int) -> None:
    """Refuse a round that is too small for its strategy.

    Raises:
        NotEnoughUpdatesError: fewer than ``strategy.min_updates``.
    """
    if found < strategy.min_updates:
        raise NotEnoughUpdatesError(
            f"{found} updates to merge, {strategy} needs at least {strategy.min_updates}; "
            "raise round.min_updates, or change [merge] strategy and options"
        )


def shares(weights_K: Tensor) -> Tensor:
    """Each update's share of the sum, float32 [K]; the share of a single update is exactly 1.

    Args:
        weights_K: float [K], finite and not negative, at least one above zero.

    Raises:
        MergeError: anything else, as when every contributor states 0 tokens.
    """
    weights = weights_K.to(torch.float64).tolist()
    total = 0.0
    for weight in weights:  # in the order of the digests, in float64
        total += weight
    if not math.isfinite(total) or total <= 0 or min(weights) < 0:
        raise MergeError(
            f"the weights of {len(weights)} updates sum to {total:g}, lowest {min(weights, default=0.0):g}; "
            "expected finite weights above zero. Set merge.weight_by = 'equal'."
        )
    return torch.tensor([weight / total for weight in weights], dtype=torch.float32, device=weights_K.device)
