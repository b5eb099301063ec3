"""Sums that have the same bits on every machine.

A library's sum adds in whatever order its vector units like. Here the order is fixed by
the code: the array is padded with zeros to a power of two and halved by elementwise adds
until one element is left. Elementwise float64 adds round alike everywhere, so the result
depends on the input alone.

What grows with the model is summed in blocks instead, so that it can be shared out and read
once: see :func:`lane_sums`.

N  elements that are summed
L  lanes of a block
T  terms of a lane
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["LANES", "LANE_BLOCK", "add_in_order", "lane_sums", "product", "square_sum", "tree_sum"]

BLOCK = 1 << 20
PRODUCTS = 1 << 22  # float64 values that a product of matrices holds at once
LANE_BLOCK = 4096  # elements: one chunk of the canonical parameter space
LANES = 16


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


def product(left_LK: Tensor, right_KM: Tensor) -> Tensor:
    """Product of two small float64 matrices, [L, M]; each sum is taken by :func:`tree_sum`.

    A few rows at a time, so that the products of a thousand updates do not fill the memory.
    """
    step = max(1, PRODUCTS // max(1, right_KM.numel()))
    right_1MK = right_KM.T[None, :, :]
    product_LM = left_LK.new_empty((left_LK.shape[0], right_KM.shape[1]), dtype=torch.float64)
    for start in range(0, len(left_LK), step):
        product_LM[start : start + step] = tree_sum(torch.mul(left_LK[start : start + step, None, :], right_1MK))
    return product_LM


def lane_sums(lanes_XL: Tensor) -> Tensor:
    """Finish a block: add its lanes.

    A block is ``LANE_BLOCK`` neighbouring elements, the last one filled up with zeros.
    Element ``n`` of a block belongs to lane ``n % LANES``; each lane starts at 0.0 and adds
    its terms in order (that is the caller's part, fused with making the terms), the lanes
    are added by halving, and the blocks in order (:func:`add_in_order`).

    Args:
        lanes_XL: float64 [..., LANES].

    Returns:
        float64 [...].
    """
    return tree_sum(lanes_XL)


def add_in_order(total_X: Tensor, sums_WX: Tensor) -> None:
    """Add W sums to a running total, first to last.

    Args:
        total_X: float64 [...], changed in place.
        sums_WX: float64 [W, ...].
    """
    for sum_X in sums_WX:
        total_X.add_(sum_X)
