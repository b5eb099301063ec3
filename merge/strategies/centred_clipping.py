"""Centred clipping: average the updates after pulling each to within a radius of a centre, then move the centre there.

The centre starts at zero, where the trunk stays as it is. Each iteration moves it by at most
one radius, and one liar by at most its share of a radius, however far out it is. With one
iteration this is norm clipping and a mean; with more, the centre nears the updates and what
sticks out around *it* is cut. Every centre is a weighted sum of the updates, so the
iterations run on their inner products alone.

K  updates in the round, in the order of their digests
P  elements of the segment being merged, flattened

Formula: v <- v + sum_k s_k * (x_k - v) * min(1, r / |x_k - v|), `iterations` times from v = 0;
    s_k = w_k / sum w; r = radius, or radius times the median norm
Divisor: the sum of the weights; weights count.
Ties: none, nothing is chosen.
Tolerates: up to a tenth of the weight by the paper's proof; with any share, liars move the result by at most
    iterations * r times their share.
Cost: inner products of all pairs (K^2 / 2 multiplications an element), `iterations` times K^2 numbers, then
    one pass over the elements.
Source: Karimireddy et al. 2021, https://arxiv.org/abs/2012.10333
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from merge.clip import median_norm
from merge.elementwise import weighted_sum
from merge.exact import tree_sum
from merge.strategies.distances import squares_to
from merge.strategies.options import require
from merge.strategies.rule import Rows, Scope, require_updates, shares

__all__ = ["CentredClipping"]


@dataclass(frozen=True, slots=True)
class CentredClipping:
    """Mean of updates clipped around a moving centre.

    Attributes:
        radius: how far from the centre an update counts in full, above 0, in ``unit``. Updates that all agree
            come through whole if radius times iterations is at least 1.
        unit: "median-norm", so that the radius follows the size of the round's updates (the lower median of
            those that are not zero), or "absolute".
        iterations: how often the centre moves, a whole number, 1 to 1,000.
    """

    name: ClassVar[str] = "centred-clipping"
    scope: ClassVar[Scope] = "model"
    linear: ClassVar[bool] = True
    radius: float = 1.0
    unit: Literal["median-norm", "absolute"] = "median-norm"
    iterations: int = 3

    def __post_init__(self) -> None:
        require(self, "radius", 0 < self.radius < float("inf"), "a number above 0")
        require(self, "unit", self.unit in ("median-norm", "absolute"), "'median-norm' or 'absolute'")
        require(self, "iterations", 1 <= self.iterations <= 1000, "a whole number, 1 to 1,000")

    @property
    def min_updates(self) -> int:
        return 1

    def weigh(self, gram_KK: Tensor, weights_K: Tensor) -> Tensor:
        """What each update is multiplied by, float64 [K], not negative, with a sum of at most 1.

        Args:
            gram_KK: float64 [K, K], inner products of the updates.
            weights_K: float64 [K], not negative; only their ratios matter.

        Raises:
            NotEnoughUpdatesError: there are no updates.
            MergeError: the weights cannot be normalised.
        """
        require_updates(self, len(weights_K))
        shares_K = shares(weights_K)
        scale = median_norm(gram_KK.diagonal().sqrt().tolist()) if self.unit == "median-norm" else 1.0
        radius = self.radius * scale
        centre_K = torch.zeros_like(shares_K)
        for _ in range(self.iterations):
            lengths_K = squares_to(gram_KK, centre_K).sqrt()
            kept_K = torch.where(lengths_K > radius, torch.div(radius, lengths_K), 1.0)
            pulls_K = torch.mul(shares_K, kept_K)
            stays = torch.sub(1.0, tree_sum(pulls_K))  # what is left of the old centre
            centre_K = torch.add(torch.mul(centre_K, stays), pulls_K)
        return centre_K

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment, float32 [P]; ``weights_K``, float32 [K], are those of :meth:`weigh`."""
        return weighted_sum(deltas_KP, weights_K)
