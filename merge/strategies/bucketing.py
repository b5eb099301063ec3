"""Bucketing: the updates are dealt into buckets by lot, and every bucket is averaged.

Averages of a few honest updates with different data differ less than the updates do, so a
robust rule that follows works on more alike inputs. But one liar spoils a whole bucket, so
of the fewer mixtures a larger part may lie.

K  updates in the round, in the order of their digests
L  buckets, ceil(K / size)

Formula: y_l = sum of w_k * x_k / sum of w_k over the updates in bucket l; the bucket weighs sum of w_k
Ties: of equal lots the lowest digest position is dealt first.
Tolerates: what its strategy tolerates of ceil(K / size); liars of K spoil at most as many buckets.
Cost: none by itself; before a strategy that is not a weighted sum one more multiplication an element.
Source: Karimireddy et al. 2022, https://arxiv.org/abs/2006.09365
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from barnraise.errors import NotEnoughUpdatesError
from merge.draws import Draws
from merge.exact import tree_sum
from merge.strategies.distances import nearest_first
from merge.strategies.options import require

__all__ = ["Bucketing"]


@dataclass(frozen=True, slots=True)
class Bucketing:
    """Averages of buckets dealt by lot.

    Attributes:
        size: updates in a bucket (the last one may have fewer), a whole number, at least 1.
    """

    name: ClassVar[str] = "bucketing"
    size: int = 2

    def __post_init__(self) -> None:
        require(self, "size", self.size >= 1, "a whole number, at least 1")

    def needed(self, mixtures: int) -> int:
        """Fewest updates that fill so many buckets, the last one begun."""
        return (mixtures - 1) * self.size + 1

    def mix(self, gram_KK: Tensor, weights_K: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Buckets as rows, float64 [L, K], and their weights, float64 [L].

        A bucket in which nothing has weight is averaged evenly and has none itself.

        Args:
            gram_KK: float64 [K, K]. Not used: the lot decides.
            weights_K: float64 [K], not negative.
            seed: of the lot, which should not be known before the updates have been sent.

        Raises:
            NotEnoughUpdatesError: there are no updates.
        """
        count = len(weights_K)
        if count < 1:
            raise NotEnoughUpdatesError(f"0 updates to mix, {self} needs at least 1")
        lots = [float(Draws(seed, k, 0).uniform(1, torch.device("cpu"))) for k in range(count)]
        dealt = nearest_first(lots)
        buckets = [sorted(dealt[start : start + self.size]) for start in range(0, count, self.size)]
        mixing_LK = torch.zeros((len(buckets), count), dtype=torch.float64)
        bucket_weights_L = torch.stack([tree_sum(weights_K[bucket]) for bucket in buckets])
        for row_K, bucket, weight in zip(mixing_LK, buckets, bucket_weights_L, strict=True):
            row_K[bucket] = torch.div(weights_K[bucket], weight) if weight > 0 else 1.0 / len(bucket)
        return mixing_LK, bucket_weights_L
