"""Mean: the weighted average of the updates.

The best rule when everybody is honest, and no defence when somebody is not: one update
moves the result as far as it likes, so it leans on norm clipping and on acceptance tests.

K  updates in the round
P  elements of the segment being merged, flattened

Source: McMahan et al. 2017 (FedAvg), https://arxiv.org/abs/1602.05629
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from merge.strategies.rule import Rows, require_updates, shares

__all__ = ["Mean"]


@dataclass(frozen=True, slots=True)
class Mean:
    """Weighted average (FedAvg)."""

    name: ClassVar[str] = "mean"

    @property
    def min_updates(self) -> int:
        return 1

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment.

        Multiplies and adds are separate float32 operations in the order of the rows, so no
        processor fuses them and every machine rounds alike.

        Args:
            deltas_KP: K tensors float32 [P], decoded updates, finite, in the order of their digests.
            weights_K: float32 [K], set by the coordinator; only their ratios matter.

        Returns:
            float32 [P], parameter minus base.

        Raises:
            NotEnoughUpdatesError: there are no updates.
            MergeError: the weights cannot be normalised.
        """
        require_updates(self, len(deltas_KP))
        shares_K = shares(weights_K)
        merged_P = torch.mul(deltas_KP[0], shares_K[0])
        for delta_P, share in zip(deltas_KP[1:], shares_K[1:], strict=True):
            scaled_P = torch.mul(delta_P, share)
            merged_P = torch.add(merged_P, scaled_P)
        return merged_P
