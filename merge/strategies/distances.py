"""Distances between updates, and from them to mixtures of them, out of their inner products alone.

Whatever Krum, Weiszfeld's iteration or clipping meet on their way is a weighted sum of the
updates, so a K by K matrix of inner products says how far apart everything is, and no
element is read again. All sums are taken in a fixed order and only square roots are needed
besides, so every machine finds the same distances; of equal ones the update whose digest
comes first counts as the nearer.

K  updates in the round, in the order of their digests

Source: the polarisation identity, |x - y|^2 = <x, x> - 2 <x, y> + <y, y>.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from merge.exact import product

__all__ = ["nearest_first", "squares_between", "squares_to"]


def squares_between(gram_KK: Tensor) -> Tensor:
    """Squared distance of every update from every other, float64 [K, K], never below 0.

    Equal updates are exactly 0 apart. Of nearly equal ones, about 2^-50 of their squared norms is lost.
    """
    norms_K = gram_KK.diagonal()
    sums_KK = torch.add(norms_K[:, None], norms_K[None, :])
    return torch.clamp(torch.sub(sums_KK, torch.mul(gram_KK, 2.0)), min=0.0)


def squares_to(gram_KK: Tensor, point_K: Tensor) -> Tensor:
    """Squared distance of every update from one weighted sum of them, float64 [K], never below 0.

    Args:
        point_K: float64 [K], the factors of the sum.
    """
    inner_K = product(gram_KK, point_K[:, None])[:, 0]
    norm = product(point_K[None, :], inner_K[:, None])[0, 0]
    sums_K = torch.add(gram_KK.diagonal(), norm)
    return torch.clamp(torch.sub(sums_K, torch.mul(inner_K, 2.0)), min=0.0)


def nearest_first(values: Sequence[float]) -> list[int]:
    """Positions in ascending order of their values, equal ones in the order of their digests."""
    return sorted(range(len(values)), key=lambda position: (values[position], position))
