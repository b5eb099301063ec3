"""Multi-slerp: the weighted mean of directions on a sphere, as long as the updates are on average.

Start at the normalised mean of the directions, look at all of them in the plane that touches
the sphere there, average, go back to the sphere, and begin again from there; the fixed point
is the point with the least weighted sum of squared angles. For two updates of equal length it
is slerp, after one step. Everything happens between the updates themselves, so the factors
follow from inner products alone. Each tensor has its own.

K  updates in the round, in the order of their digests
P  elements of the segment being merged, flattened

Formula: u_k = x_k / |x_k|; m = s / |s| with s = sum_k w_k * u_k; then steps times cos(a_k) = <m, u_k>,
    v = sum_k w_k * a_k / sin(a_k) * (u_k - cos(a_k) * m), m = cos(|v|) * m + sin(|v|) / |v| * v;
    merged = (sum_k w_k * |x_k|) * m, weights w_k that sum to 1, for each tensor;
    sum_k w_k * x_k where |s| < 0.0001 or some u_k is opposite to m (sine below 0.0001)
Divisor: the sum of the weights.
Ties: none, nothing is compared. An update below 1e-9 of the longest in a tensor has no direction there: the others
    decide the direction, and it counts with its length only.
Tolerates: none; one liar turns the direction by at most its weight but lengthens the result at will.
Cost: inner products of all pairs (K^2 / 2 multiplications an element), then one pass; no memory beside the result.
Source: Buss and Fillmore 2001, "Spherical averages and applications to spherical splines and interpolation"
    (algorithm A1), https://doi.org/10.1145/502122.502124
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from merge.angles import angle, sine_and_cosine
from merge.elementwise import weighted_sum
from merge.exact import product, tree_sum
from merge.strategies.options import require
from merge.strategies.rule import Rows, Scope, require_updates, shares
from merge.strategies.slerp import NEARLY_PARALLEL

__all__ = ["MultiSlerp"]

NO_DIRECTION = 1e-9  # of the longest; stretched to its length, such an update would be noise


@dataclass(frozen=True, slots=True)
class MultiSlerp:
    """Weighted spherical mean of the updates.

    Attributes:
        steps: from the normalised mean towards the spherical mean, a whole number in [0, 100].
    """

    name: ClassVar[str] = "multi-slerp"
    scope: ClassVar[Scope] = "tensor"
    linear: ClassVar[bool] = True
    steps: int = 10

    def __post_init__(self) -> None:
        require(self, "steps", 0 <= self.steps <= 100, "a whole number in [0, 100]")

    @property
    def min_updates(self) -> int:
        return 1

    def weigh(self, gram_KK: Tensor, weights_K: Tensor) -> Tensor:
        """The factors of the updates, float64 [K].

        Args:
            gram_KK: float64 [K, K], inner products of the updates.
            weights_K: float64 [K].

        Raises:
            NotEnoughUpdatesError: there are no updates.
            MergeError: the weights cannot be normalised.
        """
        require_updates(self, len(weights_K))
        shares_K = shares(weights_K)
        lengths_K = gram_KK.diagonal().sqrt()
        there_K = lengths_K > lengths_K.max() * NO_DIRECTION
        divisors_K = torch.where(there_K, lengths_K, 1.0)
        turned_K = torch.where(there_K, shares_K, 0.0)
        if not bool(turned_K.any()):
            return shares_K
        turned_K = torch.div(turned_K, tree_sum(turned_K))
        cosines_KK = torch.div(torch.div(gram_KK, divisors_K[:, None]), divisors_K[None, :])
        direction_K = _spherical_mean(cosines_KK, turned_K, self.steps)
        if direction_K is None:
            return shares_K
        length = tree_sum(torch.mul(shares_K, lengths_K))
        return torch.div(torch.mul(direction_K, length), divisors_K)

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment.

        Args:
            deltas_KP: K tensors float32 [P], decoded updates, finite.
            weights_K: float [K], what ``weigh`` returned.

        Returns:
            float32 [P], parameter minus base.

        Raises:
            NotEnoughUpdatesError: there are no updates.
        """
        require_updates(self, len(deltas_KP))
        return weighted_sum(deltas_KP, weights_K.to(torch.float32))


def _spherical_mean(cosines_KK: Tensor, weights_K: Tensor, steps: int) -> Tensor | None:
    """What the unit vectors are multiplied by and summed, float64 [K]; None where there is no direction.

    Args:
        cosines_KK: float64 [K, K], inner products of the unit vectors.
        weights_K: float64 [K], with the sum 1; 0 for what has no direction.
    """
    length = _length(cosines_KK, weights_K)
    if length < NEARLY_PARALLEL:
        return None
    middle_K: Tensor | None = torch.div(weights_K, length)
    for _ in range(steps):
        if middle_K is not None:
            middle_K = _nearer(cosines_KK, weights_K, middle_K)
    return middle_K


def _nearer(cosines_KK: Tensor, weights_K: Tensor, middle_K: Tensor) -> Tensor | None:
    """One step from a point of the sphere, given and returned as factors float64 [K]; None if one lies opposite."""
    stretched = []
    cosines: list[float] = product(cosines_KK, middle_K[:, None])[:, 0].tolist()
    for cosine, weight in zip(cosines, weights_K.tolist(), strict=True):
        radians = angle(cosine) if weight > 0 else 0.0
        sine, _ = sine_and_cosine(radians)
        if sine < NEARLY_PARALLEL and cosine < 0 < weight:
            return None
        stretched.append(weight * (radians / sine if sine >= NEARLY_PARALLEL else 1.0))
    stretched_K = torch.tensor(stretched, dtype=torch.float64)
    along = tree_sum(torch.mul(stretched_K, torch.tensor(cosines, dtype=torch.float64)))
    tangent_K = torch.sub(stretched_K, torch.mul(middle_K, along))
    radians = _length(cosines_KK, tangent_K)
    sine, cosine = sine_and_cosine(radians)
    ahead = sine / radians if radians > 0 else 1.0
    return torch.add(torch.mul(middle_K, cosine), torch.mul(tangent_K, ahead))


def _length(cosines_KK: Tensor, factors_K: Tensor) -> float:
    """Of a weighted sum of the unit vectors."""
    square = product(product(factors_K[None, :], cosines_KK), factors_K[:, None])[0, 0]
    return float(square.clamp(min=0).sqrt())
