"""RegMean: for every weight matrix, the one whose outputs are nearest those of all the models.

A linear layer that sees other inputs than its neighbour's may be changed where the neighbour's
inputs never go. With the Gram matrix of the inputs of each model's layer this is a least
squares problem with a closed solution. It needs whole matrices, so it is done offline; what
is no matrix, or has no Gram matrix, is merged by the weighted mean. Changes and whole weights
give the same merged model, because the base cancels.

The solution is found in float64 by a library, whose last bits may differ between machines;
a result is good to about 1e-7 and not reproducible beyond that.

K  models
O, I  rows (outputs) and columns (inputs) of a weight matrix
P  elements, flattened

Formula: merged = (sum_k w_k * x_k * H_k) * (sum_k w_k * H_k)^-1, H_k = alpha * G_k + (1 - alpha) * diag(G_k) + r * I,
    G_k = X_k^T X_k of the inputs, r = 1e-8 times the mean of the diagonal of sum_k w_k * G_k, weights that sum to 1
Divisor: the weighted sum of the Gram matrices; the sum of the weights where no input ever went.
Ties: none, nothing is compared.
Tolerates: none; one liar who states a large Gram matrix has the matrix to itself.
Cost: for each matrix K products of O * I * I and one solution of I^3 / 3 + O * I^2, in float64: three matrices [I, I]
    and two [O, I] beside the inputs.
Source: Jin et al. 2023 (RegMean; alpha 0.9 for most models, 0.1 for T5), https://arxiv.org/abs/2212.09849
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

__all__ = ["RegMean"]

RIDGE = 1e-8


@dataclass(frozen=True, slots=True)
class RegMean:
    """Regression mean.

    Attributes:
        alpha: what is kept of the Gram matrices off the diagonal, in [0, 1].
    """

    name: ClassVar[str] = "regmean"
    alpha: float = 0.9

    def __post_init__(self) -> None:
        require(self, "alpha", 0 <= self.alpha <= 1, "a number in [0, 1]")

    @property
    def min_updates(self) -> int:
        return 1

    def combine_matrices(self, deltas_KOI: Rows, grams_KII: Rows, weights_K: Tensor) -> Tensor:
        """Merge one weight matrix.

        Args:
            deltas_KOI: K matrices float32 [O, I], changes or weights, finite.
            grams_KII: K matrices float32 or float64 [I, I], symmetric, without negative eigenvalues.
            weights_K: float [K].

        Returns:
            float32 [O, I].

        Raises:
            NotEnoughUpdatesError: there are no matrices.
            MergeError: the Gram matrices do not fit, or are none; or the weights cannot be normalised.
        """
        require_updates(self, len(deltas_KOI))
        rows, columns = deltas_KOI[0].shape
        found = [tuple(gram_II.shape) for gram_II in grams_KII]
        if found != [(columns, columns)] * len(deltas_KOI):
            raise MergeError(f"Gram matrices are {found}, expected {len(deltas_KOI)} of {(columns, columns)}")
        shares_K: list[float] = shares(weights_K).tolist()
        used = [(d, g, share) for d, g, share in zip(deltas_KOI, grams_KII, shares_K, strict=True) if share > 0]
        ridge = _ridge(grams_KII, shares_K)
        left_OI = torch.zeros((rows, columns), dtype=torch.float64)
        right_II = torch.zeros((columns, columns), dtype=torch.float64)
        for delta_OI, gram_II, share in used:
            scaled_II = self._scaled(gram_II, ridge).mul_(share)
            left_OI.addmm_(delta_OI.to(torch.float64), scaled_II)
            right_II.add_(scaled_II)
        factor_II, failed = torch.linalg.cholesky_ex(right_II)
        if int(failed):
            raise MergeError("the Gram matrices have negative eigenvalues; they must be X^T X of a layer's inputs")
        return torch.cholesky_solve(left_OI.T, factor_II).T.to(torch.float32)

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """The weighted mean, float32 [P]: for what is no matrix or has no Gram matrix.

        Raises:
            NotEnoughUpdatesError: there are no updates.
            MergeError: the weights cannot be normalised.
        """
        require_updates(self, len(deltas_KP))
        return weighted_sum(deltas_KP, shares(weights_K).to(torch.float32))

    def _scaled(self, gram_II: Tensor, ridge: float) -> Tensor:
        """H of the formula, a new float64 [I, I]."""
        gram_II = gram_II.to(torch.float64)
        scaled_II = torch.mul(gram_II, self.alpha)
        scaled_II.diagonal().copy_(gram_II.diagonal()).add_(ridge)
        return scaled_II


def _ridge(grams_KII: Rows, shares_K: list[float]) -> float:
    """What is added to every diagonal; 1 if no input was ever different from 0."""
    means = (float(gram_II.diagonal().to(torch.float64).mean()) for gram_II in grams_KII)
    return RIDGE * sum(share * mean for share, mean in zip(shares_K, means, strict=True)) or 1.0
