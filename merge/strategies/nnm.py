"""Nearest-neighbour mixing: every update is replaced by the mean of the updates nearest to it.

Honest contributors with different data differ, and robust rules mistake that for lying.
Mixed with their neighbours, honest updates come together, while a liar is either left out
of their mixtures or was near them anyway. Any strategy may follow.

K  updates in the round, in the order of their digests

Formula: y_i = the mean of the K - liars updates nearest to x_i, itself among them
Ties: of equal distances the lowest digest position is nearer.
Tolerates: liars of K, given K >= 2 * liars + 1; the strategy that follows must tolerate as many.
Cost: inner products of all pairs (K^2 / 2 multiplications an element); before a strategy that is a
    weighted sum nothing more, before others K^2 multiplications an element.
Source: Allouah et al. 2023, https://arxiv.org/abs/2302.01772
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from barnraise.errors import NotEnoughUpdatesError
from merge.strategies.distances import nearest_first, squares_between
from merge.strategies.options import require

__all__ = ["NearestNeighbourMixing"]


@dataclass(frozen=True, slots=True)
class NearestNeighbourMixing:
    """NNM.

    Attributes:
        liars: how many updates may be lies, a whole number, at least 0; with 0 every mixture is the mean of all.
    """

    name: ClassVar[str] = "nnm"
    liars: int = 1

    def __post_init__(self) -> None:
        require(self, "liars", self.liars >= 0, "a whole number, at least 0")

    def needed(self, mixtures: int) -> int:
        """Fewest updates for so many mixtures: there is one for each."""
        return max(mixtures, 2 * self.liars + 1)

    def mix(self, gram_KK: Tensor, weights_K: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Mixtures as rows, float64 [K, K], and the weights as they were: mixture i stands for update i.

        Args:
            gram_KK: float64 [K, K], inner products of the updates.
            weights_K: float64 [K]. Within a mixture all count alike.
            seed: not used.

        Raises:
            NotEnoughUpdatesError: K is below 2 * liars + 1.
        """
        count = len(weights_K)
        if count < self.needed(1):
            raise NotEnoughUpdatesError(f"{count} updates to mix, {self} needs at least {self.needed(1)}")
        keep = count - self.liars
        mixing_KK = torch.zeros_like(gram_KK)
        for row_K, squares in zip(mixing_KK, squares_between(gram_KK).tolist(), strict=True):
            row_K[nearest_first(squares)[:keep]] = 1.0 / keep
        return mixing_KK, weights_K
