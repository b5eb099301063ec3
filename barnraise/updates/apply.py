"""Base plus update: how a patch becomes a release, the same bits everywhere.

P  elements of the whole space
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import NonFiniteUpdateError
from barnraise.native import codec as native
from barnraise.updates.add import add_segments
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
    if update.codec.name == "topk" and native.available() and flat_P.flags.c_contiguous and result_P.flags.c_contiguous:
        settled = native.settle(flat_P, result_P)
        if not add_segments([update], [1.0], range(space.segment_count), result_P) or not settled:
            raise _not_finite(update, result_P)
        return result_P
    for index in range(space.segment_count):
        start, end = space.segment_range(index)
        _add_segment(flat_P[start:end], update, index, result_P[start:end])
    return result_P


def _add_segment(base_P: NDArray[np.float32], update: Update, index: int, result_P: NDArray[np.float32]) -> None:
    with np.errstate(over="ignore"):
        if update.codec.name == "topk" or update.carrier is not None:
            positions_N, values_N = update.sparse(index)
            np.add(base_P, np.float32(0.0), out=result_P)
            result_P[positions_N] += values_N
        else:
            np.add(base_P, update.decode(index), out=result_P)
    if not np.isfinite(result_P).all():
        raise _not_finite_in(index)


def _not_finite(update: Update, result_P: NDArray[np.float32]) -> NonFiniteUpdateError:
    ranges = map(update.space.segment_range, range(update.space.segment_count))
    return _not_finite_in(next(i for i, part in enumerate(ranges) if not np.isfinite(result_P[slice(*part)]).all()))


def _not_finite_in(segment: int) -> NonFiniteUpdateError:
    return NonFiniteUpdateError(f"base plus change is not finite in segment {segment}. Discard this update.")
