"""The largest elements of every chunk, as a sign and one of at most two levels.

Select: the k largest magnitudes of each chunk (a short chunk its share), the lowest position
among equals; magnitudes that are not normal float32 are left out and stay in the caller's
residual. Fit: one ratio between the two levels for the whole segment, by Lloyd's method on
magnitudes divided by their chunk's mean, then the scale of each chunk on the grid that the
format has.

A second level costs bits that could name further elements, so the fit weighs error against
bits: ``BITS_WORTH`` is what a bit is worth elsewhere, in squares of a chunk's mean magnitude. An
entry more costs about nine bits and takes the square of the smallest magnitude sent, about 0.8,
off what is left out. Real updates are so flat that a second level hardly ever pays; then a
segment has one.

C  chunks of the segment
W  elements of its longest chunk
K  entries of the chunk that may have most
N  entries of the segment
P  elements of the segment

Source: chunk-wise top-k as in DeMo (Peng et al. 2024, https://arxiv.org/abs/2411.19870) and
    SparseLoCo (Sarfi et al. 2025, https://arxiv.org/abs/2508.15706); Chou, Lookabaugh and Gray 1989,
    "Entropy-constrained vector quantization".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.native import codec as native
from barnraise.native import levels as loops
from barnraise.updates import topk
from barnraise.updates.codec import EncodedSegment
from barnraise.updates.grid import LARGEST, SMALLEST, eighth_below, nearest_eighth
from barnraise.updates.support import Support
from barnraise.updates.tables import logarithm
from merge.compress.rows import Rows

__all__ = ["Chosen", "compress_chosen", "select"]

BITS_WORTH = 1 / 12
_SMALLEST_NORMAL = 2.0**-126
_LLOYD_STEPS = 8


@dataclass(frozen=True)
class Chosen:
    """Which elements of some consecutive chunks are sent.

    Attributes:
        counts_C: uint32, how many of each chunk.
        places_N: uint32, within their chunks, increasing in each.
        values_N: float32, what is to be sent.
    """

    counts_C: NDArray[np.uint32]
    places_N: NDArray[np.uint32]
    values_N: NDArray[np.float32]


def select(target_P: Tensor, chunk_starts: NDArray[np.int64], kept_C: NDArray[np.int64]) -> Chosen:
    """Choose the largest magnitudes of every chunk, in plain torch on the device of ``target_P``.

    Args:
        target_P: float32 [P], finite.
        kept_C: int64 [C], how many to choose.
    """
    rows = Rows.of(chunk_starts, target_P.device)
    kept_C1 = torch.from_numpy(kept_C).to(target_P.device)[:, None]
    sizes_CW = rows.spread(target_P.abs(), -1.0)
    largest_CK = torch.topk(sizes_CW, int(kept_C.max()), dim=1, sorted=True).values
    threshold_C1 = largest_CK.gather(1, kept_C1 - 1)
    above_CW = sizes_CW > threshold_C1
    tied_CW = sizes_CW == threshold_C1
    room_C1 = kept_C1 - above_CW.sum(dim=1, keepdim=True)
    chosen_CW = (above_CW | (tied_CW & (tied_CW.cumsum(dim=1) <= room_C1))) & (sizes_CW >= _SMALLEST_NORMAL)
    positions_N = torch.nonzero(rows.gather(chosen_CW)).view(-1)
    counts_C = chosen_CW.sum(dim=1).cpu().numpy()
    places_N = positions_N.cpu().numpy() - np.repeat(chunk_starts[:-1], counts_C)
    values_N = target_P[positions_N].cpu().numpy()
    return Chosen(counts_C.astype(np.uint32), places_N.astype(np.uint32), values_N)


def compress_chosen(
    chosen: Chosen, chunk_starts: NDArray[np.int64], k: int
) -> tuple[EncodedSegment, NDArray[np.int64], NDArray[np.float32]]:
    """Quantise and pack a segment: the bytes, positions int64 [N] and decoded values float32 [N]."""
    entries = _quantised(chosen)
    return topk.encode(entries, chunk_starts, k), entries.positions(chunk_starts), entries.values()


def _quantised(chosen: Chosen) -> topk.Entries:
    """Levels for a segment, and every entry on one of them."""
    counts_C = chosen.counts_C.astype(np.int64)
    means_C, relative_N = _relative(chosen)
    low, high, border = _levels(relative_N)
    step = min(topk.LARGEST_STEP, int(eighth_below(np.array([high / low]))[0]) + 1) if high > low else 0
    lows_C, high_N = means_C, None
    if step:
        sizes_N = np.abs(chosen.values_N).astype(np.float64)
        high_N = (sizes_N > border * np.repeat(means_C, counts_C)).astype(np.uint8)
        highs_C = _chunk_sums(high_N.astype(np.float64), counts_C)
        all_high_C = (counts_C > 0) & (highs_C == counts_C)  # must be written as low ones
        high_N[np.repeat(all_high_C, counts_C)] = 0
        step = step if high_N.any() else 0
        lows_C = np.where(all_high_C, means_C, low * means_C)
    bounds = (-(-SMALLEST // 2), (LARGEST - max(2 * step - 1, 0)) // 2)
    eighths_C = np.clip(nearest_eighth(np.where(counts_C > 0, lows_C, 1.0)), *bounds)
    eighths_C[counts_C == 0] = 0
    support = Support(chosen.counts_C, eighths_C.astype(np.int32), chosen.places_N, high_N if step else None)
    return topk.Entries(support, np.signbit(chosen.values_N), step)


def _levels(relative_N: NDArray[np.float64]) -> tuple[float, float, float]:
    """Low and high level of magnitudes relative to their chunk's mean, and where the high one begins.

    All are 1 if one level is better, or if there is no spread.
    """
    total = len(relative_N)
    low = high = border = 1.0
    for _ in range(_LLOYD_STEPS):
        highs, sum_low, sum_high = _parted(relative_N, border)
        if highs in (0, total):
            return 1.0, 1.0, 1.0
        high, low = sum_high / highs, sum_low / (total - highs)
        border = (low + high) / 2 + BITS_WORTH * _bits_between(total - highs, highs) / (2 * (high - low))
    highs, _, _ = _parted(relative_N, border)
    if highs in (0, total):
        return 1.0, 1.0, 1.0
    gain = _left_out(relative_N, border, 1.0, 1.0) - _left_out(relative_N, border, low, high)
    bits = total * _log(total) - highs * _log(highs) - (total - highs) * _log(total - highs)
    return (low, high, border) if gain > BITS_WORTH * bits else (1.0, 1.0, 1.0)


def _relative(chosen: Chosen) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean magnitude of every chunk, float64 [C], and every magnitude in units of its chunk's, float64 [N]."""
    if native.available():
        return loops.relative(chosen.values_N, chosen.counts_C)
    counts_C = chosen.counts_C.astype(np.int64)
    sizes_N = np.abs(chosen.values_N).astype(np.float64)
    means_C = _chunk_sums(sizes_N, counts_C) / np.maximum(counts_C, 1)
    return means_C, sizes_N / np.repeat(means_C, counts_C)


def _parted(terms_N: NDArray[np.float64], border: float) -> tuple[int, float, float]:
    """How many terms are above the border, and the sums of those that are not and of those that are."""
    if not len(terms_N):
        return 0, 0.0, 0.0
    if native.available():
        return loops.parted(terms_N, border)
    above_N = terms_N > border
    sums = _sum(np.where(above_N, 0.0, terms_N)), _sum(np.where(above_N, terms_N, 0.0))
    return int(np.count_nonzero(above_N)), *sums


def _left_out(terms_N: NDArray[np.float64], border: float, low: float, high: float) -> float:
    """The sum of squares that a level for what is above the border, and one for the rest, leave."""
    if native.available():
        return loops.left_out(terms_N, border, low, high)
    return _sum(np.square(terms_N - np.where(terms_N > border, high, low)))


def _bits_between(lows: int, highs: int) -> float:
    """How many bits more a high entry costs than a low one."""
    return _log(lows) - _log(highs)


def _log(count: int) -> float:
    """log2, from integers alone: the same on every machine; 0 for 0."""
    return logarithm(count) / 2.0**40 if count else 0.0


def _sum(values_N: NDArray[np.float64]) -> float:
    """Sum in a fixed order: padded to a power of two, and halves added."""
    return float(_halved(values_N[None, :])[0])


def _chunk_sums(values_N: NDArray[np.float64], counts_C: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of each chunk's entries in a fixed order, float64 [C]."""
    most = max(int(counts_C.max(initial=0)), 1)
    rows_CK = np.zeros((len(counts_C), most))
    rows_CK[np.arange(most) < counts_C[:, None]] = values_N
    return _halved(rows_CK)


def _halved(rows_CK: NDArray[np.float64]) -> NDArray[np.float64]:
    width = 1 << max(rows_CK.shape[1] - 1, 0).bit_length()
    work = np.zeros((rows_CK.shape[0], width))
    work[:, : rows_CK.shape[1]] = rows_CK
    while width > 1:
        width //= 2
        work = work[:, :width] + work[:, width : 2 * width]
    return work[:, 0]
