"""Geometric median: the point with the least total distance to the updates.

An update pulls with a force that does not grow with its distance, so liars gain nothing by
going far away. Unlike Krum it blends all updates, and unlike the median of every element it
does not depend on the axes. Weiszfeld's iteration finds it: average again and again, each
update weighed by one over its distance from the last average. Every such average is a
weighted sum of the updates, so the iteration runs on their inner products alone.

K  updates in the round, in the order of their digests
P  elements of the segment being merged, flattened

Formula: merged = argmin_z sum_k w_k * |x_k - z|, by z <- sum_k b_k * x_k / sum_k b_k
    with b_k = w_k / max(|x_k - z|, smoothing * m) and m the median norm; z starts at the weighted mean
Divisor: the sum of b_k; weights count.
Ties: none, nothing is chosen.
Tolerates: liars with less than half of the weight; the error grows as they come near half.
Cost: inner products of all pairs (K^2 / 2 multiplications an element), `iterations` times K^2 numbers, then
    one pass over the elements.
Source: Pillutla et al. 2019 (RFA, smoothed Weiszfeld), https://arxiv.org/abs/1912.13445
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from merge.clip import median_norm
from merge.elementwise import weighted_sum
from merge.exact import tree_sum
from merge.strategies.distances import squares_to
from merge.strategies.options import require
from merge.strategies.rule import Rows, Scope, require_updates, shares

__all__ = ["GeometricMedian"]

CLOSE = 1e-12  # far below what a float32 factor can express


@dataclass(frozen=True, slots=True)
class GeometricMedian:
    """Smoothed geometric median.

    Attributes:
        smoothing: distances below this multiple of the median norm count as this long, in [1e-9, 1].
        iterations: most steps of Weiszfeld's iteration, a whole number, 1 to 10,000. It ends sooner when no
            factor moves by more than 1e-12.
    """

    name: ClassVar[str] = "geometric-median"
    scope: ClassVar[Scope] = "model"
    linear: ClassVar[bool] = True
    smoothing: float = 1e-6
    iterations: int = 200

    def __post_init__(self) -> None:
        require(self, "smoothing", 1e-9 <= self.smoothing <= 1, "a number in [1e-9, 1]")
        require(self, "iterations", 1 <= self.iterations <= 10_000, "a whole number, 1 to 10,000")

    @property
    def min_updates(self) -> int:
        return 1

    def weigh(self, gram_KK: Tensor, weights_K: Tensor) -> Tensor:
        """What part each update has in the geometric median, float64 [K], not negative, with sum 1.

        Args:
            gram_KK: float64 [K, K], inner products of the updates.
            weights_K: float64 [K], not negative; only their ratios matter.

        Raises:
            NotEnoughUpdatesError: there are no updates.
            MergeError: the weights cannot be normalised.
        """
        require_updates(self, len(weights_K))
        weights_K = shares(weights_K)
        floor = self.smoothing * median_norm(gram_KK.diagonal().sqrt().tolist())
        if floor == 0:  # nobody changes anything
            return weights_K
        point_K = weights_K
        for _ in range(self.iterations):
            lengths_K = torch.clamp(squares_to(gram_KK, point_K).sqrt(), min=floor)
            pulls_K = torch.div(weights_K, lengths_K)
            last_K, point_K = point_K, torch.div(pulls_K, tree_sum(pulls_K))
            if bool((torch.abs(torch.sub(point_K, last_K)) <= CLOSE).all()):
                break
        return point_K

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment, float32 [P]; ``weights_K``, float32 [K], are those of :meth:`weigh`."""
        return weighted_sum(deltas_KP, weights_K)
