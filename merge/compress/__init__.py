"""Compressing a change: choosing what to send, and at what precision. Packing is ``barnraise.updates``.

Everything here gives the same bits on every machine: comparisons, elementwise arithmetic
and ``merge.exact.tree_sum``, and among equals the lowest position wins. What a codec leaves
out is ``target - decoded``; keeping that residual for the next time is the caller's.

P  elements of a segment, or of the whole space
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.config import CodecConfig
from barnraise.errors import NonFiniteUpdateError
from barnraise.updates import EncodedSegment, ParameterSpace
from merge.compress.blockwise import compress_blockwise
from merge.compress.dense import compress_dense
from merge.compress.topk import compress_topk

__all__ = ["compress", "compress_segment"]


def compress_segment(
    target_P: Tensor, chunk_starts: NDArray[np.int64], codec: CodecConfig
) -> tuple[EncodedSegment, Tensor]:
    """Compress the change of one segment.

    Args:
        target_P: float32 [P], what should be sent; on the CPU or a GPU.
        chunk_starts: int64 [chunks + 1], relative to the segment's start; the last entry is P.
        codec: how.

    Returns:
        The encoded segment, and what it decodes to, float32 [P] on the device of ``target_P``.

    Raises:
        NonFiniteUpdateError: ``target_P`` holds a NaN or an infinity.
    """
    assert target_P.dtype == torch.float32, target_P.dtype
    assert target_P.shape == (int(chunk_starts[-1]),), (target_P.shape, int(chunk_starts[-1]))
    finite_P = torch.isfinite(target_P)
    if not finite_P.all():
        raise NonFiniteUpdateError(
            f"{int((~finite_P).sum())} of {len(target_P)} elements to compress are NaN or infinite. "
            "Lower the learning rate, and train again from the base."
        )
    target_P = target_P.detach().contiguous()
    match codec.name:
        case "dense":
            return compress_dense(target_P)
        case "blockwise":
            return compress_blockwise(target_P, chunk_starts, codec.bits)
        case "topk":
            return compress_topk(target_P, chunk_starts, codec.k)


def compress(target_P: Tensor, space: ParameterSpace, codec: CodecConfig) -> tuple[list[EncodedSegment], Tensor]:
    """Compress the change of a whole space, segment by segment.

    Args:
        target_P: float32 [P] in the layout of ``space``.

    Returns:
        All segments in order, and what they decode to, float32 [P].

    Raises:
        NonFiniteUpdateError: ``target_P`` holds a NaN or an infinity.
    """
    assert target_P.shape == (space.size,), (target_P.shape, space.size)
    decoded_P = torch.empty_like(target_P, requires_grad=False)
    segments = []
    for index in range(space.segment_count):
        start, end = space.segment_range(index)
        segment, decoded_P[start:end] = compress_segment(target_P[start:end], space.segment_chunk_starts(index), codec)
        segments.append(segment)
    return segments, decoded_P
