"""The largest elements of every chunk, as a sign and one of two levels.

Select: the k largest magnitudes of each chunk (a short chunk its share), the lowest position
among equals. Fit: one ratio between the two levels for the whole segment, by Lloyd's method on
magnitudes divided by their chunk's mean, then the scale of each chunk on the grid that the
format has. Chunks more than 31 octaves below the strongest, and magnitudes that are not normal
float32, are left out; they stay in the caller's residual.

C  chunks of the segment
W  elements of its longest chunk
K  entries of the chunk that may have most
N  entries of the segment
P  elements of the segment

Source: chunk-wise top-k as in DeMo (Peng et al. 2024, https://arxiv.org/abs/2411.19870) and
    SparseLoCo (Sarfi et al. 2025, https://arxiv.org/abs/2508.15706); Lloyd 1982, "Least squares
    quantization in PCM".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.updates import topk
from barnraise.updates.codec import EncodedSegment, kept_per_chunk
from barnraise.updates.grid import LARGEST, SMALLEST, eighth_below, magnitudes, nearest_eighth
from merge.compress.rows import Rows
from merge.exact import tree_sum

__all__ = ["compress_topk"]

_SMALLEST_NORMAL = 2.0**-126
_LLOYD_STEPS = 6


def compress_topk(target_P: Tensor, chunk_starts: NDArray[np.int64], k: int) -> tuple[EncodedSegment, Tensor]:
    """Select and quantise float32 [P], finite."""
    rows = Rows.of(chunk_starts, target_P.device)
    kept_C = torch.from_numpy(kept_per_chunk(chunk_starts, k)).to(target_P.device)
    sizes_CW = rows.spread(target_P.abs(), -1.0)
    largest_CK, chosen_CW = _select(sizes_CW, kept_C)
    levels = _fit_levels(largest_CK)
    chosen_CW &= torch.from_numpy(levels.codes_C != topk.NO_ENTRIES).to(target_P.device)[:, None]
    positions_N = torch.nonzero(rows.gather(chosen_CW)).view(-1)
    entries = _entries(positions_N.cpu().numpy(), target_P[positions_N].cpu().numpy(), levels, chunk_starts)
    decoded_P = torch.zeros_like(target_P)
    decoded_P[positions_N] = torch.from_numpy(entries.values(chunk_starts)).to(target_P.device)
    return topk.encode(entries), decoded_P


def _select(sizes_CW: Tensor, kept_C: Tensor) -> tuple[Tensor, Tensor]:
    """Choose the largest magnitudes of every chunk.

    Args:
        sizes_CW: float32 [C, W], magnitudes; negative behind a short chunk.
        kept_C: int64 [C], how many to choose.

    Returns:
        The chosen magnitudes, largest first, 0 where there are fewer, float32 [C, K]; and where they are, bool [C, W].
    """
    most = int(kept_C.max())
    largest_CK = torch.topk(sizes_CW, most, dim=1, sorted=True).values
    threshold_C1 = largest_CK.gather(1, kept_C[:, None] - 1)
    above_CW = sizes_CW > threshold_C1
    tied_CW = sizes_CW == threshold_C1
    room_C1 = kept_C[:, None] - above_CW.sum(dim=1, keepdim=True)
    chosen_CW = (above_CW | (tied_CW & (tied_CW.cumsum(dim=1) <= room_C1))) & (sizes_CW >= _SMALLEST_NORMAL)
    within_CK = torch.arange(most, device=sizes_CW.device) < kept_C[:, None]
    return torch.where(within_CK & (largest_CK >= _SMALLEST_NORMAL), largest_CK, 0.0), chosen_CW


@dataclass(frozen=True)
class _Levels:
    """Two levels for every chunk: those of the format, and the magnitude from which on an entry is high."""

    codes_C: NDArray[np.uint8]
    high_from_C: NDArray[np.float64]
    unit: int
    ratio: int


def _fit_levels(largest_CK: Tensor) -> _Levels:
    """Choose the levels of a segment from the magnitudes that are to be sent, float32 [C, K], 0 for none."""
    used_CK = largest_CK > 0
    counts_C = used_CK.sum(dim=1)
    means_C1 = (tree_sum(largest_CK) / counts_C.clamp(min=1))[:, None]
    low, high = _lloyd(torch.where(used_CK, largest_CK / torch.where(means_C1 > 0, means_C1, 1.0), 0.0), used_CK)
    ratio = min(255, int(eighth_below(np.array([high / low]))[0])) if high > low else 0
    strongest_C = largest_CK[:, 0].to(torch.float64).cpu().numpy()
    weakest_C = largest_CK.gather(1, (counts_C - 1).clamp(min=0)[:, None])[:, 0].to(torch.float64).cpu().numpy()
    return _on_grid(low, ratio, means_C1[:, 0].cpu().numpy(), strongest_C, weakest_C)


def _lloyd(relative_CK: Tensor, used_CK: Tensor) -> tuple[float, float]:
    """Low and high level of magnitudes relative to their chunk's mean; both 1 if there is no spread."""
    low = high = border = 1.0
    total = int(used_CK.sum())
    for _ in range(_LLOYD_STEPS):
        high_CK = relative_CK > border
        highs = int(high_CK.sum())
        if highs in (0, total):
            break
        high = float(tree_sum(torch.where(high_CK, relative_CK, 0.0).view(-1))) / highs
        low = float(tree_sum(torch.where(high_CK, 0.0, relative_CK).view(-1))) / (total - highs)
        border = (low + high) / 2
    return low, high


def _on_grid(
    low: float,
    ratio: int,
    means_C: NDArray[np.float64],
    strongest_C: NDArray[np.float64],
    weakest_C: NDArray[np.float64],
) -> _Levels:
    """Put the low level of every chunk on the grid, and keep the rules of the format."""
    step = 2 * ratio + 1
    some_C = means_C > 0
    safe_C = np.where(some_C, means_C, 1.0)
    bounds = (-(-SMALLEST // 2), (LARGEST - step) // 2)
    eighths_C = np.clip(nearest_eighth(low * safe_C), *bounds)
    high_from_C = (_sizes(2 * eighths_C) + _sizes(2 * eighths_C + step)) / 2
    all_high_C = weakest_C > high_from_C  # must be written as low ones
    eighths_C = np.where(all_high_C, np.clip(nearest_eighth(safe_C), *bounds), eighths_C)
    high_from_C = np.where(all_high_C, np.inf, high_from_C)
    unit = int(eighths_C[some_C].max(initial=bounds[0]))
    some_C &= unit - eighths_C < topk.NO_ENTRIES
    if not (some_C & (strongest_C > high_from_C)).any():
        ratio = 0
    codes_C = np.where(some_C, unit - eighths_C, topk.NO_ENTRIES).astype(np.uint8)
    return _Levels(codes_C, high_from_C, unit, ratio)


def _sizes(numbers_C: NDArray[np.int64]) -> NDArray[np.float64]:
    return magnitudes(numbers_C).astype(np.float64)


def _entries(
    positions_N: NDArray[np.int64], values_N: NDArray[np.float32], levels: _Levels, chunk_starts: NDArray[np.int64]
) -> topk.Entries:
    counts_C = np.diff(np.searchsorted(positions_N, chunk_starts))
    return topk.Entries(
        positions_N=positions_N,
        negative_N=np.signbit(values_N),
        high_N=np.abs(values_N).astype(np.float64) > np.repeat(levels.high_from_C, counts_C),
        codes_C=levels.codes_C,
        unit=levels.unit,
        ratio=levels.ratio,
    )
