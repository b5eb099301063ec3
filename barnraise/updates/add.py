"""Adding updates times factors to float32 values, without a dense vector for each.

``out + factor * change``, the product and the sum rounded apart, update by update in the order
given. An element that an update does not name is left alone. That gives the bits of adding the
decoded change everywhere, as long as ``out`` holds no -0.0, which only adding 0.0 would change;
sums that began at 0.0 hold none.

K  updates
P  elements
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from barnraise.native import codec as native
from barnraise.updates.codec import kept_per_chunk
from barnraise.updates.container import Update
from barnraise.updates.draw_tables import compiled_tables
from barnraise.updates.space import ParameterSpace

__all__ = ["add_all_scaled", "add_decoded", "add_scaled", "add_segments", "decode_whole"]


def add_scaled(update: Update, segment: int, factor: float, out_P: NDArray[np.float32]) -> None:
    """Add one segment of one update.

    Args:
        factor: is rounded to float32 first.
        out_P: float32, the elements of that segment, contiguous; without -0.0.

    Raises:
        UpdateError: the segment is wrong; ``out_P`` is then half done.
    """
    add_segments([update], [factor], range(segment, segment + 1), out_P)


def add_all_scaled(updates: Sequence[Update], factors: Sequence[float], out_P: NDArray[np.float32]) -> None:
    """Add K whole updates of one space to float32 [P], on several threads.

    Raises:
        UpdateError: as :func:`add_scaled`.
    """
    if updates:
        add_segments(updates, factors, range(updates[0].space.segment_count), out_P)


def add_segments(
    updates: Sequence[Update], factors: Sequence[float], segments: range, out_P: NDArray[np.float32]
) -> bool:
    """Add consecutive segments of K updates of one space.

    Args:
        segments: which, with a step of 1.
        out_P: float32, the elements of these segments, contiguous; without -0.0.

    Returns:
        Whether everything that was added to is finite now.

    Raises:
        UpdateError: as :func:`add_scaled`; of the first segment that is wrong.
    """
    assert len(updates) == len(factors), (len(updates), len(factors))
    assert segments.step == 1, segments
    assert all(update.space.digest == updates[0].space.digest for update in updates)
    if not updates or not segments:
        return True
    if not native.available() or not all(update.packable for update in updates):
        return _add_plain(updates, factors, segments, out_P)
    packed = [(update.packed(), factor) for update, factor in zip(updates, factors, strict=True)]
    added = native.add_packed(compiled_tables(), updates[0].space.chunk_starts, segments, packed, out_P)
    if added.wrong is not None:
        segment, number = added.wrong
        _refuse(updates[number], segment)
    return added.finite


def decode_whole(update: Update) -> native.DecodedUpdate:
    """All entries of a ``topk`` update of all tensors, for one that is added more than once; six bytes an entry.

    Raises:
        UpdateError: a segment is wrong.
    """
    assert update.packable, (update.codec.name, update.carrier)
    space = update.space
    if native.available():
        kept_C = kept_per_chunk(space.chunk_starts, update.codec.k)
        found = native.decode_packed(compiled_tables(), space.chunk_starts, update.packed(), kept_C)
        if isinstance(found, int):
            _refuse(update, found)
        return found
    places, values, counts = [], [], []
    for segment in range(space.segment_count):
        positions_N, values_N = update.sparse(segment)
        starts_C = space.segment_chunk_starts(segment)
        counts_C = np.diff(np.searchsorted(positions_N, starts_C))
        places.append((positions_N - np.repeat(starts_C[:-1], counts_C)).astype(np.uint16))
        values.append(values_N)
        counts.append(counts_C)
    firsts_C = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.concatenate(counts), dtype=np.int64)])
    return native.DecodedUpdate(np.concatenate(places), np.concatenate(values), firsts_C)


def add_decoded(
    space: ParameterSpace,
    updates: Sequence[native.DecodedUpdate],
    factors: Sequence[float],
    out_P: NDArray[np.float32],
) -> None:
    """Add decoded updates to float32 [P], as :func:`add_all_scaled` adds packed ones."""
    assert out_P.shape == (space.size,), (out_P.shape, space.size)
    if native.available():
        native.add_decoded(space.chunk_starts, list(zip(updates, factors, strict=True)), out_P)
        return
    for update, factor in zip(updates, factors, strict=True):
        starts_N = np.repeat(space.chunk_starts[:-1], np.diff(update.firsts_C))
        with np.errstate(over="ignore", invalid="ignore"):
            out_P[starts_N + update.places_N] += np.float32(factor) * update.values_N


def _refuse(update: Update, segment: int) -> NoReturn:
    """Raise what is wrong with a segment that the compiled loops refused."""
    update.sparse(segment)
    raise RuntimeError(f"the compiled loops refuse segment {segment}, which decodes")


def _add_plain(
    updates: Sequence[Update], factors: Sequence[float], segments: range, out_P: NDArray[np.float32]
) -> bool:
    space = updates[0].space
    first = space.segment_range(segments.start)[0]
    finite = True
    with np.errstate(over="ignore", invalid="ignore"):
        for segment in segments:
            start, end = space.segment_range(segment)
            part_P = out_P[start - first : end - first]
            for update, factor in zip(updates, factors, strict=True):
                if update.codec.name == "topk" or update.carrier is not None:
                    positions_N, values_N = update.sparse(segment)
                    sums_N = part_P[positions_N] + np.float32(factor) * values_N
                    part_P[positions_N] = sums_N
                    finite &= bool(np.isfinite(sums_N).all())
                else:
                    part_P += np.float32(factor) * update.decode(segment)
                    finite &= bool(np.isfinite(part_P).all())
    return finite
