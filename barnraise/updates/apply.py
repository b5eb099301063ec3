"""Base plus update: how a patch becomes a release, the same bits everywhere.

P  elements of the whole space
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import NonFiniteUpdateError
from barnraise.updates.container import Update

__all__ = ["apply_update"]


def apply_update(
    flat_P: NDArray[np.float32], update: Update, *, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """``base + change``, one float32 addition an element.

    Elements that the update does not name get the addition of +0.0 as well, which turns a
    -0.0 into 0.0: the result is bit for bit that of adding the decoded change.

    Args:
        flat_P: float32 [P], the base.
        out: float32 [P] to write to; may be ``flat_P`` itself. A new array by default.

    Returns:
        float32 [P], ``out`` if it was given.

    Raises:
        UpdateError: a segment is wrong, or a sum is not finite; ``out`` is then half written.
    """
    space = update.space
    assert flat_P.shape == (space.size,), (flat_P.shape, space.size)
    result_P = np.empty_like(flat_P) if out is None else out
    for index in range(space.segment_count):
        start, end = space.segment_range(index)
        _add_segment(flat_P[start:end], update, index, result_P[start:end])
    return result_P


def _add_segment(base_P: NDArray[np.float32], update: Update, index: int, result_P: NDArray[np.float32]) -> None:
    with np.errstate(over="ignore"):
        if update.codec.name == "topk":
            positions_N, values_N = update.sparse(index)
            np.add(base_P, np.float32(0.0), out=result_P)
            result_P[positions_N] += values_N
        else:
            np.add(base_P, update.decode(index), out=result_P)
    if not np.isfinite(result_P).all():
        raise NonFiniteUpdateError(f"base plus change is not finite in segment {index}. Discard this update.")
