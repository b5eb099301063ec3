"""Every element in a few bits: the search for each chunk's scale.

The scale with the least squared error depends on the shape of the distribution: at 2 bits it
clips far below the largest element, at 8 bits hardly. So shares of the largest element are
tried, from the whole of it down, until one is not better than the one before. At 1 bit it is the
mean magnitude, which needs no search.

On the CPU compiled loops do this if they are there, with the same bits.

C  chunks of the segment
W  elements of its longest chunk
P  elements of the segment
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.native import blockwise as loops
from barnraise.native import codec as native
from barnraise.updates import blockwise
from barnraise.updates.codec import EncodedSegment
from merge.compress.rows import Rows
from merge.exact import tree_sum

__all__ = ["compress_blockwise"]

_SHARES = {
    8: (1.0, 0.875, 0.75, 0.625, 0.5),
    4: (1.0, 0.875, 0.75, 0.625, 0.5, 0.4375, 0.375, 0.3125, 0.25, 0.1875),
    2: (1.0, 0.75, 0.625, 0.5, 0.4375, 0.375, 0.3125, 0.25, 0.1875, 0.125, 0.09375, 0.0625),
    1: (),
}
_SMALLEST_SCALE = 2.0**-126
_EIGHT_SIGNIFICANT_BITS = -(1 << 16)  # mask of the sign, the exponent and 7 fraction bits


def compress_blockwise(
    target_P: Tensor, chunk_starts: NDArray[np.int64], bits: int, out_P: Tensor
) -> tuple[EncodedSegment, Tensor] | None:
    """Quantise float32 [P]; None if it is not finite. A chunk whose scale would be subnormal becomes zero.

    What it decodes to may be written to ``out_P``, float32 [P], and is returned.
    """
    if target_P.device.type == "cpu" and native.available():
        found = loops.quantise(target_P.numpy(), chunk_starts, bits, _SHARES[bits], out_P.numpy())
        if found is None:
            return None
        packed, scales_C = found
        return EncodedSegment(b"", packed, scales_C.astype("<f4").tobytes()), out_P
    if not torch.isfinite(target_P).all():
        return None
    rows = Rows.of(chunk_starts, target_P.device)
    target_CW = rows.spread(target_P, 0.0)
    if bits == 1:
        scale_C, levels_CW = _signs(target_CW, torch.from_numpy(np.diff(chunk_starts)))
    else:
        scale_C = _best_scale(target_CW, rows, bits)
        levels_CW = _levels(target_CW, scale_C, float((1 << bits) - 1))
    sent_P = rows.gather(levels_CW * scale_C[:, None])
    levels_P = rows.gather(levels_CW).to(torch.int16)
    segment = blockwise.encode(levels_P.cpu().numpy(), scale_C.cpu().numpy(), chunk_starts, bits)
    return segment, sent_P


def _signs(target_CW: Tensor, sizes_C: Tensor) -> tuple[Tensor, Tensor]:
    """The mean magnitude of every chunk, float32 [C], 0 where it would be subnormal; and signs, float32 [C, W]."""
    mean_C = tree_sum(target_CW.abs()) / sizes_C.to(target_CW.device)
    scale_C = _rounded_scale(mean_C.to(torch.float32))
    return scale_C, torch.where((target_CW < 0) & (scale_C > 0)[:, None], -1.0, 1.0)


def _best_scale(target_CW: Tensor, rows: Rows, bits: int) -> Tensor:
    """float32 [C]; 0 for a chunk whose scale would be subnormal."""
    top = float((1 << bits) - 1)
    largest_C = target_CW.abs().amax(dim=1)
    best_scale_C = torch.zeros_like(largest_C)
    best_error_C = torch.full_like(largest_C, torch.inf, dtype=torch.float64)
    going_C = torch.ones_like(largest_C, dtype=torch.bool)
    for share in _SHARES[bits]:
        scale_C = _rounded_scale(largest_C * share / top)
        error_C = _square_error(target_CW, _levels(target_CW, scale_C, top), scale_C, rows)
        going_C &= (error_C < best_error_C) & (scale_C > 0)
        best_scale_C = torch.where(going_C, scale_C, best_scale_C)
        best_error_C = torch.where(going_C, error_C, best_error_C)
        if not going_C.any():
            break
    return best_scale_C


def _rounded_scale(scale_C: Tensor) -> Tensor:
    """Cut to 8 significant bits, so that levels times scale are exact; 0 where it is too small."""
    cut_C = (scale_C.view(torch.int32) & _EIGHT_SIGNIFICANT_BITS).view(torch.float32)
    return torch.where(cut_C >= _SMALLEST_SCALE, cut_C, 0.0)


def _levels(target_CW: Tensor, scale_C: Tensor, top: float) -> Tensor:
    """The nearest odd level of every element, float32 [C, W]; 1 where the scale is 0."""
    divisor_C1 = torch.where(scale_C > 0, scale_C, torch.inf)[:, None]
    halves_CW = (target_CW / divisor_C1) * 0.5
    levels_CW = (2.0 * torch.floor(halves_CW) + 1.0).clamp(-top, top)
    return torch.where(scale_C[:, None] > 0, levels_CW, 1.0)


def _square_error(target_CW: Tensor, levels_CW: Tensor, scale_C: Tensor, rows: Rows) -> Tensor:
    """float64 [C]."""
    error_CW = target_CW.to(torch.float64) - levels_CW.to(torch.float64) * scale_C.to(torch.float64)[:, None]
    if rows.valid_CW is not None:
        error_CW = torch.where(rows.valid_CW, error_CW, 0.0)
    return tree_sum(error_CW * error_CW)
