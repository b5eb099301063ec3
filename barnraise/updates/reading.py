"""Ranges of what the arrays of an update hold, with one decoded segment in memory at a time.

Q  elements of a range
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from barnraise.updates.space import CHUNKS_PER_SEGMENT, ParameterSpace

__all__ = ["Reading"]


class Reading:
    """Decodes a segment when a range needs it, and keeps the last one: ranges mostly follow each other."""

    def __init__(self, space: ParameterSpace, decode: Callable[[int], NDArray[np.float32]]) -> None:
        """``decode`` gives the elements of a segment of ``space``."""
        self._space = space
        self._decode = decode
        self._last: tuple[int, NDArray[np.float32]] | None = None

    def __call__(self, start: int, end: int) -> NDArray[np.float32]:
        """Elements ``[start, end)``, float32 [Q], a view where one segment holds them.

        Raises:
            UpdateError: a segment that is needed is wrong.
        """
        parts = []
        for segment in self._segments(start, end):
            first, last = self._space.segment_range(segment)
            parts.append(self._segment(segment)[max(start, first) - first : min(end, last) - first])
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype=np.float32), *parts])

    def _segment(self, segment: int) -> NDArray[np.float32]:
        last = self._last
        if last is None or last[0] != segment:
            self._last = last = segment, self._decode(segment)
        return last[1]  # not from self, which another thread may have changed

    def _segments(self, start: int, end: int) -> range:
        """The segments that hold the elements ``[start, end)``."""
        if start == end:
            return range(0)
        chunks = np.searchsorted(self._space.chunk_starts, [start, end - 1], side="right") - 1
        if not self._space.cuts:
            first, last = (chunks // CHUNKS_PER_SEGMENT).tolist()
        else:
            first, last = (np.searchsorted(self._space.cuts, chunks, side="right") - 1).tolist()
        return range(first, last + 1)
