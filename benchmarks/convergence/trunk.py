"""The coordinator's side of a round, without its store: read the update files, merge, compress, release.

K  updates in a round
P  elements in the whole parameter space
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.config import CodecConfig, OuterConfig
from barnraise.digest import digest_bytes
from barnraise.updates import Update, write_update
from barnraise.updates.space import ParameterSpace
from benchmarks.convergence.arms import Tuning
from merge.measure import Piece, measure_pieces, total
from merge.plan import MergeRules, plan_merge
from merge.segment import SegmentUpdates, merge_segment
from merge.segment import Trunk as SegmentOfTrunk
from merge.strategies import Mean, make_outer

__all__ = ["BASE", "Trunk"]

BASE = digest_bytes(b"base")  # files name a base; here nobody confuses them
RULES = MergeRules(Mean(), clip_norm_at=2.0)


class Trunk:
    """The released model, and what moves with it.

    Attributes:
        model_P: float32 [P].
    """

    def __init__(self, space: ParameterSpace, model_P: NDArray[np.float32], tuning: Tuning) -> None:
        """``tuning`` is the outer learning rate and momentum."""
        self.model_P = model_P
        self._space = space
        self._outer = make_outer(OuterConfig(learning_rate=tuning[0], momentum=tuning[1]))
        self._state = dict(self._outer.initial(space.size))
        self._residual_P = torch.zeros(space.size)

    def release(self, files: Sequence[bytes], codec: CodecConfig) -> int:
        """Merge update files into the next release; the size of its patch in bytes."""
        space = self._space
        parsed = sorted((Update.parse(data, space, base_digest=BASE) for data in files), key=lambda u: u.digest)
        segments = [
            SegmentUpdates([torch.from_numpy(update.decode(number)) for update in parsed], _pieces(space, number))
            for number in range(space.segment_count)
        ]
        measured = total([measure_pieces(s.deltas, s.pieces, magnitudes=False) for s in segments])
        plan = plan_merge(measured, [1.0] * len(parsed), RULES)
        encoded = []
        for number, updates in enumerate(segments):
            cut = slice(*space.segment_range(number))
            mine = SegmentOfTrunk(
                {slot: vector_P[cut] for slot, vector_P in self._state.items()},
                self._residual_P[cut],
                space.segment_chunk_starts(number),
            )
            merged = merge_segment(updates, plan, RULES, self._outer, mine, codec)
            encoded.append(merged.encoded)
            self.model_P[cut] += merged.decoded_P.numpy()
            self._residual_P[cut] = merged.residual_P
            for slot, vector_P in merged.state.items():
                self._state[slot][cut] = vector_P
        return len(write_update(space, BASE, codec, encoded, role="patch"))


def _pieces(space: ParameterSpace, segment: int) -> list[Piece]:
    """Which tensors lie in a segment, and where."""
    first, end = space.segment_range(segment)
    starts = space.tensor_starts
    return [
        Piece(number, max(first, start) - first, min(end, stop) - first, max(first, start))
        for number, (start, stop) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))
        if start < end and stop > first
    ]
