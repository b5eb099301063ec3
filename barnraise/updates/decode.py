"""From an encoded segment to its change, for whichever codec: the one place that knows all three.

N  entries of the segment
P  elements of the segment
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.update_config import CodecConfig
from barnraise.updates import blockwise, dense, fisher, topk
from barnraise.updates.codec import EncodedSegment, check_length

__all__ = ["decode_fisher", "decode_segment", "named_positions", "sparse_segment"]


def decode_segment(segment: EncodedSegment, chunk_starts: NDArray[np.int64], codec: CodecConfig) -> NDArray[np.float32]:
    """The change of every element, float32 [P], finite.

    Args:
        segment: bytes that nobody has checked yet.
        chunk_starts: int64 [chunks + 1], relative to the segment's start; the last entry is P.
        codec: how it was encoded.

    Raises:
        UpdateError: not the one encoding of a finite change.
    """
    if len(chunk_starts) == 1:
        return _nothing(segment)
    match codec.name:
        case "dense":
            return dense.decode(segment, int(chunk_starts[-1]))
        case "blockwise":
            return blockwise.decode(segment, chunk_starts, codec.bits)
        case "topk":
            positions_N, values_N = topk.decode(segment, chunk_starts, codec.k)
            change_P = np.zeros(int(chunk_starts[-1]), dtype=np.float32)
            change_P[positions_N] = values_N
            return change_P


def sparse_segment(
    segment: EncodedSegment, chunk_starts: NDArray[np.int64], codec: CodecConfig
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Positions int64 [N], strictly increasing, and values float32 [N] of what the update names.

    That is every element for ``dense`` and ``blockwise``.

    Raises:
        UpdateError: as :func:`decode_segment`.
    """
    if codec.name == "topk" and len(chunk_starts) > 1:
        return topk.decode(segment, chunk_starts, codec.k)
    return np.arange(int(chunk_starts[-1]), dtype=np.int64), decode_segment(segment, chunk_starts, codec)


def decode_fisher(segment: EncodedSegment, chunk_starts: NDArray[np.int64], codec: CodecConfig) -> NDArray[np.float32]:
    """How sure the update is of every element, float32 [P], finite; 0 for elements that it does not name.

    Args:
        segment: with a Fisher.

    Raises:
        UpdateError: not the one encoding of a Fisher; or the elements named cannot be told.
    """
    assert segment.fisher is not None, "this update has no Fisher"
    positions_N = named_positions(segment, chunk_starts, codec)
    fisher_P = np.zeros(int(chunk_starts[-1]), dtype=np.float32)
    fisher_P[positions_N] = fisher.decode(segment.fisher, np.diff(np.searchsorted(positions_N, chunk_starts)))
    return fisher_P


def named_positions(segment: EncodedSegment, chunk_starts: NDArray[np.int64], codec: CodecConfig) -> NDArray[np.int64]:
    """int64 [N], strictly increasing: the elements that an update names, which are all unless it is ``topk``.

    Raises:
        UpdateError: as :func:`decode_segment`, for ``topk``.
    """
    if codec.name == "topk":
        return topk.decode(segment, chunk_starts, codec.k)[0]
    return np.arange(int(chunk_starts[-1]), dtype=np.int64)


def _nothing(segment: EncodedSegment) -> NDArray[np.float32]:
    """The change of a segment without elements, float32 [0].

    Raises:
        NonCanonicalUpdateError: it says something.
    """
    for what in ("support", "levels", "scales"):
        check_length(what, getattr(segment, what), 0)
    return np.zeros(0, dtype=np.float32)
