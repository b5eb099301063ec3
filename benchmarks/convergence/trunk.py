"""The coordinator's side of a round, without its store: read the update files, merge, compress, release.

K  updates in a round
P  elements in the whole parameter space
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.digest import digest_bytes
from barnraise.merge_config import OuterConfig
from barnraise.update_config import CodecConfig
from barnraise.updates import Turn, Update, write_update
from barnraise.updates.space import ParameterSpace
from merge.measure import measure_pieces, total
from merge.plan import MergeRules, plan_merge
from merge.segment import SegmentUpdates, merge_segment
from merge.segment import Trunk as SegmentOfTrunk
from merge.strategies import Mean, make_outer
from merge.strategies.fisher import Fisher

__all__ = ["BASE", "Trunk"]

BASE = digest_bytes(b"base")  # files name a base; here nobody confuses them
CLIP_NORM_AT = 2.0


class Trunk:
    """The released model, and what moves with it.

    Attributes:
        model_P: float32 [P].
    """

    def __init__(
        self,
        space: ParameterSpace,
        model_P: NDArray[np.float32],
        tuning: tuple[float, float],
        *,
        named: float | None = None,
        turns: int | None = None,
    ) -> None:
        """``tuning`` is the outer learning rate and momentum; ``named`` and ``turns`` of releases as in an arm."""
        self.model_P = model_P
        self._space = space
        self._rules = MergeRules(Mean() if named is None else Fisher(), clip_norm_at=CLIP_NORM_AT)
        self._outer = make_outer(OuterConfig(learning_rate=tuning[0], momentum=tuning[1]))
        self._state = dict(self._outer.initial(space.size))
        self._residual_P = torch.zeros(space.size)
        self._named = named
        self._turns = turns
        self._releases = 0

    def release(self, files: Sequence[bytes], codec: CodecConfig) -> int:
        """Merge update files into the next release; the size of its patch in bytes."""
        space = self._space
        turn = None if self._turns is None else Turn(space, self._turns, self._releases)
        parsed = sorted((Update.parse(data, space, base_digest=BASE) for data in files), key=lambda u: u.digest)
        segments = [self._read(parsed, number) for number in range(space.segment_count)]
        measured = total([measure_pieces(s.deltas, s.pieces, magnitudes=False) for s in segments])
        plan = plan_merge(measured, [1.0] * len(parsed), self._rules)
        encoded, decoded = [], []
        for number, updates in enumerate(segments):
            cut = slice(*space.segment_range(number))
            mine = SegmentOfTrunk(
                {slot: vector_P[cut] for slot, vector_P in self._state.items()},
                self._residual_P[cut],
                (space if turn is None else turn.space).segment_chunk_starts(number),
                said_Q=None if turn is None else torch.from_numpy(turn.positions(number)),
            )
            merged = merge_segment(updates, plan, self._rules, self._outer, mine, codec)
            encoded.append(merged.encoded)
            decoded.append(merged.decoded_P.numpy())
            self._residual_P[cut] = merged.residual_P
            for slot, vector_P in merged.state.items():
                self._state[slot][cut] = vector_P
        self.model_P += np.concatenate(decoded)
        self._releases += 1
        return len(write_update(space, BASE, codec, encoded, role="patch", carrier=turn))

    def _read(self, parsed: Sequence[Update], number: int) -> SegmentUpdates:
        """One segment of every update; a Fisher of 1 wherever it is named makes that rule a mean of those who do."""
        deltas = [torch.from_numpy(update.decode(number)) for update in parsed]
        fishers = None
        if self._named is not None:
            fishers = [(delta_P != 0).to(torch.float32) for delta_P in deltas]
            count_P = torch.stack(fishers).sum(dim=0)
            share_P = count_P / torch.clamp(count_P + self._named, min=1)
            deltas = [delta_P * share_P for delta_P in deltas]
        return SegmentUpdates(deltas, self._space.pieces(number), fishers=fishers)
