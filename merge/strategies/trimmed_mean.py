"""Trimmed mean: at every element, drop the extremes and average the rest.

Survives up to ``trim * K`` contributors who send anything they like, at the price of
ignoring that share of the honest ones too.

K  updates in the round
P  elements of the segment being merged, flattened

Source: Yin et al. 2018, https://arxiv.org/abs/1803.01498
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from barnraise.errors import UnknownStrategyError
from merge.sorting import sort_rows
from merge.strategies.rule import Rows, require_updates

__all__ = ["TrimmedMean"]

LEAST = 0.001
SLACK = 1e-9  # 0.29 * 100 is 28.999999999999996 in binary, and means 29


@dataclass(frozen=True, slots=True)
class TrimmedMean:
    """Coordinate-wise trimmed mean.

    Attributes:
        trim: share of updates dropped at *each* end: 0, or in [0.001, 0.5).
    """

    name: ClassVar[str] = "trimmed-mean"
    trim: float = 0.2

    def __post_init__(self) -> None:
        if not (self.trim == 0 or LEAST <= self.trim < 0.5):
            raise UnknownStrategyError(f"trimmed-mean: trim is {self.trim:g}, expected 0 or a share in [{LEAST}, 0.5)")

    @property
    def min_updates(self) -> int:
        """Fewest updates of which at least one is dropped at each end."""
        return math.ceil((1 - SLACK) / self.trim) if self.trim > 0 else 1

    def dropped(self, updates: int) -> int:
        """How many of ``updates`` values are dropped at each end."""
        return math.floor(self.trim * updates + SLACK)

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment.

        The values that are kept are added in ascending order, so the result does not depend
        on the order of the updates at all.

        Args:
            deltas_KP: K tensors float32 [P], decoded updates, finite.
            weights_K: float32 [K], set by the coordinator. Not used: this rule trusts no weight.

        Returns:
            float32 [P], parameter minus base.

        Raises:
            NotEnoughUpdatesError: K is below ``min_updates``.
        """
        require_updates(self, len(deltas_KP))
        drop = self.dropped(len(deltas_KP))
        kept = sort_rows(list(deltas_KP))[drop : len(deltas_KP) - drop]
        total_P = kept[0]
        for row_P in kept[1:]:
            total_P = torch.add(total_P, row_P)
        # A minimum of -0.0 and 0.0 may be either; adding 0.0 makes the sum 0.0 on every machine.
        return torch.add(torch.div(total_P, float(len(kept))), 0.0)
