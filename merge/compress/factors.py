"""The nearest factors of a change: matrix by matrix, its first singular vectors.

A change that low-rank training has made is given back as it was. What earlier units left over makes it
one of higher rank, of which this takes the largest part; the rest stays in the caller's residual. So
error feedback works for factors as for every other codec, although the factors of two units have
nothing to do with each other and could not be added.

Factors are not unique. Half of each singular value goes to either side, and both sides are turned by
one orthogonal matrix in which all components have the same length: then no component is rounded more
coarsely than another where a chunk of elements shares a scale.

R, C  rows and columns of a matrix
K  components

Source: Eckart and Young 1936; Halko, Martinsson and Tropp 2009, https://arxiv.org/abs/0909.4061, for the
    subspace iteration; Ahmed, Natarajan and Rao 1974 for the turn, a discrete cosine transform
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.errors import NonFiniteUpdateError
from barnraise.updates.factors import Factors

__all__ = ["factorise"]

EXACT = 384  # a matrix with a smaller side is decomposed whole
OVERSAMPLED, ITERATIONS = 8, 4


def factorise(target: NDArray[np.float32], factors: Factors, *, turned: bool = True) -> NDArray[np.float32]:
    """What to carry for a change.

    Args:
        target: float32, a flat vector of ``factors.target``, finite.
        turned: with components of one length.

    Returns:
        float32, a flat vector of ``factors.space``. Not the same bits on every machine.

    Raises:
        NonFiniteUpdateError: the change holds a NaN or an infinity.
    """
    if not np.isfinite(target).all():
        raise NonFiniteUpdateError(
            f"{int((~np.isfinite(target)).sum())} of {len(target)} elements to factorise are NaN or infinite. "
            "Lower the learning rate, and train again from the base."
        )
    found = {}
    for name, matrix in factors.target.unflatten(target).items():
        rank = min(factors.rank, *matrix.shape)
        left_RK, right_KC = _nearest(torch.from_numpy(matrix.copy()), rank)
        if turned:
            turn_KK = _cosines(rank)
            left_RK, right_KC = left_RK @ turn_KK, turn_KK.T @ right_KC
        found[f"{name}/a"], found[f"{name}/b"] = (side.to(torch.float32).numpy() for side in (right_KC, left_RK))
    return factors.space.flatten(found)


def _nearest(matrix_RC: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """float64 [R, K] and [K, C] whose product is nearest to the matrix."""
    whole_RC = matrix_RC.to(torch.float64) if min(matrix_RC.shape) <= EXACT else matrix_RC
    if min(matrix_RC.shape) <= EXACT:
        u_RK, sizes_K, v_KC = torch.linalg.svd(whole_RC, full_matrices=False)
    else:
        basis_RL = _range_of(whole_RC, rank + OVERSAMPLED)
        u_LK, sizes_K, v_KC = torch.linalg.svd((basis_RL.T @ whole_RC).to(torch.float64), full_matrices=False)
        u_RK = basis_RL.to(torch.float64) @ u_LK
    halves_K = sizes_K[:rank].sqrt()
    return u_RK[:, :rank] * halves_K, halves_K[:, None] * v_KC[:rank]


def _range_of(matrix_RC: Tensor, width: int) -> Tensor:
    """An orthonormal basis, float32 [R, width], of nearly all that a matrix does."""
    draws = torch.Generator().manual_seed(0)
    basis_RL: Tensor = matrix_RC @ torch.randn(matrix_RC.shape[1], width, generator=draws)
    for _ in range(ITERATIONS):
        other_CL, _ = torch.linalg.qr(matrix_RC.T @ torch.linalg.qr(basis_RL).Q)
        basis_RL = matrix_RC @ other_CL
    basis_RL, _ = torch.linalg.qr(basis_RL)
    return basis_RL


def _cosines(size: int) -> Tensor:
    """An orthogonal matrix, float64 [K, K], with no small columns: a discrete cosine transform."""
    at_K = torch.arange(size, dtype=torch.float64)
    turn_KK = torch.cos(math.pi / size * (at_K[None, :] + 0.5) * at_K[:, None]) * math.sqrt(2 / size)
    turn_KK[0] *= math.sqrt(0.5)
    return turn_KK
