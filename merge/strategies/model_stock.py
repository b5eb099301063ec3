"""Model stock: the mean of the updates, shortened by how little they agree.

Fine-tuned weights lie on a thin shell around a centre that is better than each of them. From
the angle between the updates follows how far from the base the point nearest that centre is:
updates that agree are followed all the way, updates at right angles are noise and not at all.
Each tensor has its own angle, the mean of the cosines of all pairs; a mean below 0 counts as
0, and an update that does not change a tensor is at right angles to the others.

K  updates in the round, in the order of their digests
P  elements of the segment being merged, flattened

Formula: merged = t * sum_k w_k * x_k / sum_k w_k, t = K * c / (1 + (K - 1) * c), c = mean over i < j of
    <x_i, x_j> / (|x_i| * |x_j|) within [0, 1], for each tensor
Divisor: the sum of the weights. The paper's mean is plain: equal weights.
Ties: none, nothing is compared.
Tolerates: none; one liar moves the mean at will, though its angle pulls t down.
Cost: inner products of all pairs (K^2 / 2 multiplications an element), then one pass; no memory beside the result.
Source: Jang et al. 2024 (Model Stock), https://arxiv.org/abs/2403.19522
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from merge.elementwise import weighted_sum
from merge.exact import tree_sum
from merge.strategies.rule import Rows, Scope, require_updates, shares

__all__ = ["ModelStock"]


@dataclass(frozen=True, slots=True)
class ModelStock:
    """Mean of the updates, times what their angle says."""

    name: ClassVar[str] = "model-stock"
    scope: ClassVar[Scope] = "tensor"
    linear: ClassVar[bool] = True

    @property
    def min_updates(self) -> int:
        return 2

    def weigh(self, gram_KK: Tensor, weights_K: Tensor) -> Tensor:
        """The factors of the updates, float64 [K].

        Args:
            gram_KK: float64 [K, K], inner products of the updates.
            weights_K: float64 [K].

        Raises:
            NotEnoughUpdatesError: K is below 2.
            MergeError: the weights cannot be normalised.
        """
        require_updates(self, len(weights_K))
        return torch.mul(shares(weights_K), _towards_the_mean(gram_KK))

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment.

        Args:
            deltas_KP: K tensors float32 [P], decoded updates, finite.
            weights_K: float [K], what ``weigh`` returned.

        Returns:
            float32 [P], parameter minus base.

        Raises:
            NotEnoughUpdatesError: K is below 2.
        """
        require_updates(self, len(deltas_KP))
        return weighted_sum(deltas_KP, weights_K.to(torch.float32))


def _towards_the_mean(gram_KK: Tensor) -> float:
    """How far to go from the base, in [0, 1]."""
    count = len(gram_KK)
    lengths_K = gram_KK.diagonal().sqrt()
    divisors_KK = torch.mul(lengths_K[:, None], lengths_K[None, :])
    cosines_KK = torch.where(divisors_KK > 0, torch.div(gram_KK, divisors_KK), 0.0)
    pairs = torch.triu_indices(count, count, offset=1)
    pairwise_N = cosines_KK[pairs[0], pairs[1]]
    cosine = min(1.0, max(0.0, float(tree_sum(pairwise_N)) / pairwise_N.numel()))
    return count * cosine / (1 + (count - 1) * cosine)
