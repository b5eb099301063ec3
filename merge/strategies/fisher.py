"""Fisher: the weighted mean in which every element of an update counts by how sure the update is of it.

An update's diagonal Fisher information says how much its loss would rise if an element were
moved. Where one update's loss depends on an element and another's does not, the first one
decides. Fishers come along with the updates, from the same contributors, so nothing keeps
anybody from overstating their own.

K  updates in the round, in the order of their digests
P  elements of the segment being merged, flattened

Formula: merged = sum_k w_k * f_k * x_k / sum_k w_k * f_k at every element where that divisor exceeds epsilon;
    sum_k w_k * x_k / sum_k w_k elsewhere
Divisor: at every element, the sum of the weights times the Fishers; where no Fisher says anything, of the weights.
Ties: none, nothing is compared.
Tolerates: none; one liar who states a large Fisher has the element to itself.
Cost: one pass over the elements of updates and Fishers.
Source: Matena and Raffel 2021 (Fisher-weighted averaging), https://arxiv.org/abs/2111.09832
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from barnraise.errors import MergeError
from merge.elementwise import weighted_sum
from merge.strategies.options import require
from merge.strategies.rule import Rows, require_updates, shares

__all__ = ["Fisher"]

BLOCK = 1 << 15  # 128 KiB of each update and of each Fisher


@dataclass(frozen=True, slots=True)
class Fisher:
    """Mean weighted by diagonal Fisher information.

    Attributes:
        epsilon: total Fisher information up to which an element is not decided by it, in [1e-35, 1].
    """

    name: ClassVar[str] = "fisher"
    epsilon: float = 1e-30

    def __post_init__(self) -> None:
        require(self, "epsilon", 1e-35 <= self.epsilon <= 1, "a number in [1e-35, 1]")

    @property
    def min_updates(self) -> int:
        return 1

    def combine_with_fisher(self, deltas_KP: Rows, fishers_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment.

        Args:
            deltas_KP: K tensors float32 [P], decoded updates, finite.
            fishers_KP: K tensors float32 [P], finite and not negative.
            weights_K: float [K].

        Returns:
            float32 [P], parameter minus base.

        Raises:
            NotEnoughUpdatesError: there are no updates.
            MergeError: not as many Fishers as updates, or the weights cannot be normalised.
        """
        require_updates(self, len(deltas_KP))
        if len(fishers_KP) != len(deltas_KP):
            raise MergeError(f"{len(fishers_KP)} Fishers came with {len(deltas_KP)} updates, expected one with each")
        shares_K = shares(weights_K).to(torch.float32)
        merged_P = torch.empty_like(deltas_KP[0])
        for start in range(0, len(merged_P), BLOCK):
            span = slice(start, start + BLOCK)
            deltas = [delta_P[span] for delta_P in deltas_KP]
            merged_P[span] = self._block(deltas, [fisher_P[span] for fisher_P in fishers_KP], shares_K)
        return merged_P

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """The weighted mean, float32 [P]: what is left where no Fisher is known.

        Raises:
            NotEnoughUpdatesError: there are no updates.
            MergeError: the weights cannot be normalised.
        """
        require_updates(self, len(deltas_KP))
        return weighted_sum(deltas_KP, shares(weights_K).to(torch.float32))

    def _block(self, deltas: Rows, fishers: Rows, shares_K: Tensor) -> Tensor:
        total_P, sure_P = torch.zeros_like(deltas[0]), torch.zeros_like(deltas[0])
        for delta_P, fisher_P, share in zip(deltas, fishers, shares_K.tolist(), strict=True):
            if share == 0:
                continue
            weight_P = torch.mul(fisher_P, share)
            total_P = torch.add(total_P, torch.mul(weight_P, delta_P))
            sure_P = torch.add(sure_P, weight_P)
        known_P = sure_P > self.epsilon
        decided_P = torch.div(total_P, torch.where(known_P, sure_P, 1.0))
        return decided_P if bool(known_P.all()) else torch.where(known_P, decided_P, weighted_sum(deltas, shares_K))
