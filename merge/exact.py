"""Sums that have the same bits on every machine.

A library's sum adds in whatever order its vector units like. Here the order is fixed by
the code: the array is padded with zeros to a power of two and halved by elementwise adds
until one element is left. Elementwise float64 adds round alike everywhere, so the result
depends on the input alone.

N  elements that are summed
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["square_sum", "tree_sum"]

BLOCK = 1 << 20


def tree_sum(values_XN: Tensor) -> Tensor:
    """Sum over the last dimension in a fixed order.

    Args:
        values_XN: [..., N], any float or integer dtype; added in float64.

    Returns:
        float64 [...].
    """
    size = values_XN.shape[-1]
    if size == 0:
        return torch.zeros(values_XN.shape[:-1], dtype=torch.float64, device=values_XN.device)
    width = 1 << (size - 1).bit_length()
    work = torch.zeros((*values_XN.shape[:-1], width), dtype=torch.float64, device=values_XN.device)
    work[..., :size] = values_XN
    while width > 1:
        width //= 2
        work = work[..., :width] + work[..., width : 2 * width]
    return work[..., 0]


def square_sum(values_N: Tensor) -> float:
    """Sum of squares of a float32 vector, in float64, block by block in a fixed order."""
    total = 0.0
    for start in range(0, values_N.numel(), BLOCK):
        block = values_N[start : start + BLOCK].to(torch.float64)
        total += float(tree_sum(block * block))
    return total
