"""Merge one segment of a round: clip, combine, take the outer step, compress, keep what was left out.

    updates -> strategy -> outer rule -> + residual -> compress -> patch
                                                          |
                                    next residual <-- left out

This is all that a worker does for a segment, and needs the segment's elements of each update
at once, never whole models. Every operation is element-wise in float32 with multiplies and
adds kept apart, so the result has the same bits on every machine, however a segment is cut
into blocks.

K  updates in the round, in the order of their digests
P  elements of the segment, flattened
B  elements of a block
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.config import CodecConfig
from barnraise.updates import EncodedSegment
from merge.compress import compress_segment
from merge.strategies import OuterRule, Strategy
from merge.strategies.rule import require_updates

__all__ = ["MergedSegment", "combine_blocks", "merge_segment"]

BLOCK = 1 << 15  # 128 KiB of each update: a block of 16 of them stays in the second-level cache


@dataclass(frozen=True, slots=True)
class MergedSegment:
    """What a round made of one segment.

    Attributes:
        encoded: the segment of the patch.
        decoded_P: float32 [P], the change that ``encoded`` stands for.
        momentum_P: float32 [P], of the outer rule, for the next round.
        residual_P: float32 [P], what compression left out, for the next round.
    """

    encoded: EncodedSegment
    decoded_P: Tensor
    momentum_P: Tensor
    residual_P: Tensor


def merge_segment(
    deltas: Sequence[Tensor],
    weights: Sequence[float],
    factors: Sequence[float],
    strategy: Strategy,
    outer: OuterRule,
    momentum_P: Tensor,
    residual_P: Tensor,
    chunk_starts: NDArray[np.int64],
    codec: CodecConfig,
) -> MergedSegment:
    """Merge one segment; the arguments are not changed.

    Args:
        deltas: K tensors float32 [P], decoded updates, finite, in the order of their digests.
        weights: of each update, set by the coordinator.
        factors: that each update is multiplied with first (:func:`merge.clip.clip_factors`).
        momentum_P: float32 [P], the outer rule's, as the base's release left it.
        residual_P: float32 [P], what compressing earlier rounds left out.
        chunk_starts: int64 [chunks + 1], relative to the segment's start.
        codec: of the patch.

    Raises:
        NotEnoughUpdatesError: too few for the strategy.
        MergeError: weights that cannot be normalised.
        NonFiniteUpdateError: the result overflows float32.
    """
    merged_P = combine_blocks(deltas, weights, factors, strategy)
    step_P, next_momentum_P = outer.step(merged_P, momentum_P)
    total_P = torch.add(step_P, residual_P)
    encoded, decoded_P = compress_segment(total_P, chunk_starts, codec)
    return MergedSegment(encoded, decoded_P, next_momentum_P, torch.sub(total_P, decoded_P))


def combine_blocks(
    deltas: Sequence[Tensor], weights: Sequence[float], factors: Sequence[float], strategy: Strategy
) -> Tensor:
    """Apply the clip factors and the strategy, block by block; float32 [P]."""
    assert len(deltas) == len(weights) == len(factors), (len(deltas), len(weights), len(factors))
    require_updates(strategy, len(deltas))
    assert all(delta.dtype == torch.float32 and delta.shape == deltas[0].shape for delta in deltas)
    device = deltas[0].device
    weights_K = torch.tensor(weights, dtype=torch.float32, device=device)
    factors_K1 = torch.tensor(factors, dtype=torch.float32, device=device).unsqueeze(1)
    merged_P = torch.empty_like(deltas[0])
    for start in range(0, len(merged_P), BLOCK):
        block_KB = torch.stack([delta[start : start + BLOCK] for delta in deltas])
        merged_P[start : start + BLOCK] = strategy.combine(torch.mul(block_KB, factors_K1), weights_K)
    return merged_P
