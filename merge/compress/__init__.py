"""Compressing a change: choosing what to send, and at what precision. Packing is ``barnraise.updates``.

Everything here gives the same bits on every machine: comparisons, elementwise arithmetic
and ``merge.exact.tree_sum``, and among equals the lowest position wins. What a codec leaves
out is ``target - decoded``; keeping that residual for the next time is the caller's.

P  elements of a segment, or of the whole space
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.errors import NonFiniteUpdateError
from barnraise.native import codec as native
from barnraise.native import spread
from barnraise.update_config import CodecConfig
from barnraise.updates import EncodedSegment, ParameterSpace
from barnraise.updates.codec import kept_per_chunk
from merge.compress.blockwise import compress_blockwise
from merge.compress.dense import compress_dense
from merge.compress.topk import Chosen, compress_chosen, select

__all__ = ["compress", "compress_in_place", "compress_segment"]


def compress_segment(
    target_P: Tensor, chunk_starts: NDArray[np.int64], codec: CodecConfig, *, out_P: Tensor | None = None
) -> tuple[EncodedSegment, Tensor]:
    """Compress the change of one segment.

    Args:
        target_P: float32 [P], what should be sent; on the CPU or a GPU.
        chunk_starts: int64 [chunks + 1], relative to the segment's start; the last entry is P.
        codec: how.
        out_P: float32 [P] beside ``target_P``, contiguous: room that may be used for what is returned.

    Returns:
        The encoded segment, and what it decodes to, float32 [P] on the device of ``target_P``.

    Raises:
        NonFiniteUpdateError: ``target_P`` holds a NaN or an infinity.
    """
    assert target_P.dtype == torch.float32, target_P.dtype
    assert target_P.shape == (int(chunk_starts[-1]),), (target_P.shape, int(chunk_starts[-1]))
    target_P = target_P.detach().contiguous()
    if len(chunk_starts) == 1:
        return EncodedSegment(b"", b"", b""), target_P.clone()
    if codec.name == "topk":
        chosen = _choose(target_P, chunk_starts, kept_per_chunk(chunk_starts, codec.k))
        segment, positions_N, values_N = compress_chosen(chosen, chunk_starts, codec.k)
        decoded_P = torch.zeros_like(target_P)
        device = target_P.device
        decoded_P[torch.from_numpy(positions_N).to(device)] = torch.from_numpy(values_N).to(device)
        return segment, decoded_P
    if codec.name == "blockwise":
        found = compress_blockwise(
            target_P, chunk_starts, codec.bits, torch.empty_like(target_P) if out_P is None else out_P
        )
        if found is None:
            raise _not_finite(target_P)
        return found
    if not torch.isfinite(target_P).all():
        raise _not_finite(target_P)
    return compress_dense(target_P)


def compress(target_P: Tensor, space: ParameterSpace, codec: CodecConfig) -> tuple[list[EncodedSegment], Tensor]:
    """Compress the change of a whole space.

    Args:
        target_P: float32 [P] in the layout of ``space``.

    Returns:
        All segments in order, and what they decode to, float32 [P].

    Raises:
        NonFiniteUpdateError: ``target_P`` holds a NaN or an infinity.
    """
    assert target_P.shape == (space.size,), (target_P.shape, space.size)
    target_P = target_P.detach().contiguous()
    if codec.name == "topk" and target_P.device.type == "cpu" and native.available():
        decoded_P = torch.empty_like(target_P)  # filled by the threads: touching it takes as long as the rest
        values_P = decoded_P.numpy()

        def place(at: slice, positions_N: NDArray[np.int64], values_N: NDArray[np.float32]) -> None:
            native.place(positions_N, values_N, values_P[at])

        return _compress_whole(target_P, space, codec.k, place), decoded_P
    decoded_P = torch.empty_like(target_P)
    segments = [EncodedSegment(b"", b"", b"")] * space.segment_count

    def work(first: int, last: int) -> None:
        for index in range(first, last):
            start, end = space.segment_range(index)
            part_P = decoded_P[start:end]
            chunk_starts = space.segment_chunk_starts(index)
            segments[index], found_P = compress_segment(target_P[start:end], chunk_starts, codec, out_P=part_P)
            if found_P is not part_P:
                part_P.copy_(found_P)

    _share_out(work, space, codec, target_P.device)
    return segments, decoded_P


def compress_in_place(target_P: NDArray[np.float32], space: ParameterSpace, codec: CodecConfig) -> list[EncodedSegment]:
    """Compress the change of a whole space, and leave in its place what the codec leaves out.

    The same segments as of :func:`compress`, and the same residual as ``target - decoded``, to the bit. No second
    vector is made: the pages of one take longer than all the rest.

    Args:
        target_P: float32 [P] in the layout of ``space``, contiguous; the residual afterwards.

    Raises:
        NonFiniteUpdateError: ``target_P`` holds a NaN or an infinity; what it holds then means nothing.
    """
    assert target_P.shape == (space.size,), (target_P.shape, space.size)
    assert target_P.flags.c_contiguous
    whole_P = torch.from_numpy(target_P)
    if codec.name == "topk" and native.available():

        def take(at: slice, positions_N: NDArray[np.int64], values_N: NDArray[np.float32]) -> None:
            target_P[at][positions_N] -= values_N

        return _compress_whole(whole_P, space, codec.k, take)
    segments = [EncodedSegment(b"", b"", b"")] * space.segment_count
    longest = max((end - start for start, end in map(space.segment_range, range(space.segment_count))), default=0)

    def work(first: int, last: int) -> None:
        room_P = torch.empty(longest)  # one for all of a thread's segments: its pages are made once
        for index in range(first, last):
            start, end = space.segment_range(index)
            part_P, chunk_starts = whole_P[start:end], space.segment_chunk_starts(index)
            segments[index], found_P = compress_segment(part_P, chunk_starts, codec, out_P=room_P[: end - start])
            part_P.sub_(found_P)

    _share_out(work, space, codec, whole_P.device)
    return segments


def _share_out(
    work: Callable[[int, int], None], space: ParameterSpace, codec: CodecConfig, device: torch.device
) -> None:
    """``work`` on all segments, on threads where the codec's loops bring none of their own."""
    if codec.name == "blockwise" and device.type == "cpu" and native.available():
        spread(work, space.segment_count, 1)
    else:
        work(0, space.segment_count)  # torch and numpy bring their own threads


def _compress_whole(
    target_P: Tensor,
    space: ParameterSpace,
    k: int,
    told: Callable[[slice, NDArray[np.int64], NDArray[np.float32]], None],
) -> list[EncodedSegment]:
    """``topk`` on the CPU: choose in the whole vector at once, then share the segments out.

    Args:
        told: called with each segment's place, and with positions in it and the values that they decode to.
    """
    assert target_P.dtype == torch.float32, target_P.dtype
    starts_C = space.chunk_starts
    chosen = _choose(target_P, starts_C, kept_per_chunk(starts_C, k))
    ends_C = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(chosen.counts_C, dtype=np.int64)])
    segments = [EncodedSegment(b"", b"", b"")] * space.segment_count

    def work(first: int, last: int) -> None:
        for index in range(first, last):
            chunks = slice(*np.searchsorted(starts_C, space.segment_range(index)).tolist())
            entries = slice(int(ends_C[chunks.start]), int(ends_C[chunks.stop]))
            part = Chosen(chosen.counts_C[chunks], chosen.places_N[entries], chosen.values_N[entries])
            segments[index], positions_N, values_N = compress_chosen(part, space.segment_chunk_starts(index), k)
            told(slice(*space.segment_range(index)), positions_N, values_N)

    spread(work, space.segment_count, 1)
    return segments


def _choose(target_P: Tensor, chunk_starts: NDArray[np.int64], kept_C: NDArray[np.int64]) -> Chosen:
    """The largest magnitudes of every chunk, compiled where it can be.

    Raises:
        NonFiniteUpdateError: ``target_P`` holds a NaN or an infinity.
    """
    if target_P.device.type != "cpu" or not native.available():
        if not torch.isfinite(target_P).all():
            raise _not_finite(target_P)
        return select(target_P, chunk_starts, kept_C)
    values_P = target_P.numpy()
    found = native.select(values_P, chunk_starts, kept_C)
    if found is None:
        raise _not_finite(target_P)
    places_N, values_N, counts_C = found
    return Chosen(counts_C, places_N, values_N)


def _not_finite(target_P: Tensor) -> NonFiniteUpdateError:
    return NonFiniteUpdateError(
        f"{int((~torch.isfinite(target_P)).sum())} of {len(target_P)} elements to compress are NaN or infinite. "
        "Lower the learning rate, and train again from the base."
    )
