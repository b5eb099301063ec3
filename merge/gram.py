"""Inner products of all pairs of rows, in float64, added in one fixed order.

Krum and its relatives choose between updates by their distances, and a distance is three
inner products. These come from the changes themselves and never from whole models: the
products of two float32 are exact in float64, and every sum has the order that
:mod:`merge.exact` fixes, so every machine finds the same numbers and chooses alike. The
compiled loops and plain torch give the same bits, however the work is shared out.

K  rows: one update each
P  elements, flattened
W  blocks at a time
T  terms of a lane
L  lanes of a block
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from barnraise.native import dense
from merge.exact import LANE_BLOCK, LANES, add_in_order, lane_sums
from merge.loops import loop_rows

__all__ = ["gram", "square_sums"]

SCRATCH = 1 << 19  # float64 values of the rows held at once in plain torch: 4 MiB


def gram(rows: Sequence[Tensor]) -> Tensor:
    """Inner product of every row with every row.

    Args:
        rows: K tensors [P], float32, bfloat16 or float16, finite.

    Returns:
        float64 [K, K], symmetric, on the rows' device. A squared distance is
        ``gram[i, i] + gram[j, j] - 2 * gram[i, j]``.

    Raises:
        RuntimeError: the rows do not fit together.
    """
    _require_alike(rows)
    count = len(rows)
    gram_KK = torch.zeros((count, count), dtype=torch.float64, device=rows[0].device)
    native_rows = loop_rows(rows)
    if native_rows is not None:
        upper = torch.triu_indices(count, count)
        gram_KK[upper[0], upper[1]] = torch.frombuffer(dense.gram_sums(native_rows), dtype=torch.float64)
        return gram_KK + gram_KK.triu(1).T
    for terms_TKWL in _lanes(rows):
        _, _, width, lanes = terms_TKWL.shape
        lanes_KKWL = torch.zeros((count, count, width, lanes), dtype=torch.float64, device=gram_KK.device)
        for terms_KWL in terms_TKWL:
            lanes_KKWL.addcmul_(terms_KWL[:, None], terms_KWL[None, :])  # an exact product, so one rounding
        add_in_order(gram_KK, lane_sums(lanes_KKWL).permute(2, 0, 1))
    return gram_KK


def square_sums(rows: Sequence[Tensor]) -> Tensor:
    """Sum of squares of every row: the diagonal of :func:`gram`, bit for bit.

    Args:
        rows: K tensors [P], float32, bfloat16 or float16, finite.

    Returns:
        float64 [K], on the rows' device.

    Raises:
        RuntimeError: the rows do not fit together.
    """
    _require_alike(rows)
    native_rows = loop_rows(rows)
    if native_rows is not None:
        return torch.frombuffer(dense.square_sums(native_rows), dtype=torch.float64)
    sums_K = torch.zeros(len(rows), dtype=torch.float64, device=rows[0].device)
    for terms_TKWL in _lanes(rows):
        lanes_KWL = torch.zeros_like(terms_TKWL[0])
        for terms_KWL in terms_TKWL:
            lanes_KWL.addcmul_(terms_KWL, terms_KWL)
        add_in_order(sums_K, lane_sums(lanes_KWL).T)
    return sums_K


def _lanes(rows: Sequence[Tensor]) -> Iterator[Tensor]:
    """The rows as terms of lanes, a few blocks at a time: float64 [T, K, W, L]."""
    size = rows[0].numel()
    step = LANE_BLOCK * max(1, SCRATCH // (LANE_BLOCK * len(rows)))
    for start in range(0, size, step):
        end = min(size, start + step)
        width = -(-(end - start) // LANE_BLOCK)
        padded_KN = torch.zeros((len(rows), width * LANE_BLOCK), dtype=torch.float64, device=rows[0].device)
        for row_P, padded_N in zip(rows, padded_KN, strict=True):
            padded_N[: end - start] = row_P[start:end]
        yield padded_KN.view(len(rows), width, LANE_BLOCK // LANES, LANES).permute(2, 0, 1, 3).contiguous()


def _require_alike(rows: Sequence[Tensor]) -> None:
    """Raises RuntimeError unless there are rows, all one-dimensional, of one size and on one device."""
    if not rows:
        raise RuntimeError("there are no rows to compare")
    shape, device = rows[0].shape, rows[0].device
    for row_P in rows:
        if row_P.ndim != 1 or row_P.shape != shape or row_P.device != device or not row_P.is_floating_point():
            found = f"{row_P.dtype} {list(row_P.shape)} on {row_P.device}"
            raise RuntimeError(f"a row is {found}, expected floats {list(shape)} on {device}")
