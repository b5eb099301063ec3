"""Where rounds of noise are merged without a run around them: a store, a base, and updates in any order.

yard = Yard.at(tmp_path, MergeConfig(strategy="krum"))
first, second = yard.two_rounds(InlinePool(), random.Random(0), segments_per_task=2)
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from barnraise.merge_config import MergeConfig
from barnraise.releases.store import BlobStore
from barnraise.update_config import CodecConfig
from barnraise.updates import Turn, write_update
from barnraise.updates.scope import Scope
from barnraise.updates.space import CHUNK, CHUNKS_PER_SEGMENT, ParameterSpace, TensorSpec
from coordinator.conductor.merging import Bench, MergeJob, plan_inputs
from coordinator.conductor.pool import Pool
from coordinator.conductor.steps import Merging, merge_now
from coordinator.models import ModelCache
from coordinator.round_events import (
    Candidate,
)
from merge.compress import compress

__all__ = ["CODEC", "UPDATES", "Yard"]

UPDATES = 9
CODEC = CodecConfig(name="topk", k=64)
IN_TURN = CodecConfig(name="blockwise", bits=4)


def _three_segments() -> ParameterSpace:
    """Small tensors, and two that reach over the end of a segment."""
    few = 4
    small = [TensorSpec(f"{part}.{number}", (3, 5)) for part in "ac" for number in range(few)]
    first = TensorSpec("b", (CHUNKS_PER_SEGMENT, CHUNK))
    second = TensorSpec("d", ((CHUNKS_PER_SEGMENT - few) * CHUNK + 7,))
    return ParameterSpace.of([*small, first, second])


@dataclass(frozen=True)
class Yard:
    """A store with a base and its updates, which two rounds are merged from.

    Attributes:
        merge: how. count: updates in a round.
        turns: updates and patches say one of so many elements, in 4 bits; None: all that top-k chooses.
        made: digest of a base -> digest and tokens of each update to it.
    """

    bench: Bench
    base_digest: str
    merge: MergeConfig
    count: int
    turns: int | None = None
    made: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    @classmethod
    def at(cls, root: Path, merge: MergeConfig, count: int = UPDATES, turns: int | None = None) -> Yard:
        space = _three_segments()
        bench = Bench(BlobStore(root), ModelCache(root / "models", space))
        base_P = np.random.default_rng(0).standard_normal(space.size).astype(np.float32)
        return cls(bench, bench.models.put(base_P), merge, count, turns)

    def merging(self, merge: MergeConfig, count: int | None = None) -> Yard:
        """The same base and updates, merged in another way."""
        return replace(self, merge=merge, count=count or self.count)

    def two_rounds(self, pool: Pool, order: random.Random, segments_per_task: int = 1) -> tuple[Merging, Merging]:
        """Two rounds, the second one on the first one's candidate and state; updates come in any order."""
        first = self.round(pool, order, segments_per_task)
        return first, self.round(pool, order, segments_per_task, first.candidate)

    def round(
        self, pool: Pool, order: random.Random, segments_per_task: int = 1, after: Candidate | None = None
    ) -> Merging:
        """One round, on the base or on a candidate."""
        merge = self.merge.model_copy(update={"segments_per_task": segments_per_task})
        return merge_now(self.bench, self.job(merge, order, after), pool, 60.0)

    def job(self, merge: MergeConfig, order: random.Random, after: Candidate | None = None) -> MergeJob:
        """What a round is asked to do."""
        base_digest = after.model_digest if after else self.base_digest
        updates = self._updates(base_digest)[: self.count]
        order.shuffle(updates)
        state_digest = after.state_digest if after else None
        return MergeJob(
            base_digest,
            plan_inputs(merge, updates),
            state_digest,
            merge,
            CODEC if self.turns is None else IN_TURN,
            Scope.in_turn(self.turns, list(self.made).index(base_digest)),
        )

    def _updates(self, base_digest: str) -> list[tuple[str, int]]:
        """Noise of growing length and with something in common, made once for a base."""
        if base_digest not in self.made:
            draws = np.random.default_rng(len(self.made))
            common_P = draws.standard_normal(self.bench.space.size)
            self.made[base_digest] = [
                (self._noise(base_digest, common_P + (number + 1) * draws.standard_normal(len(common_P))), 100 + number)
                for number in range(UPDATES)
            ]
        return list(self.made[base_digest])

    def _noise(self, base_digest: str, noise_P: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
        space, change_P = self.bench.space, (1e-3 * noise_P).astype(np.float32)
        if self.turns is None:
            segments, _ = compress(torch.from_numpy(change_P), space, CODEC)
            return self.bench.blobs.put(write_update(space, base_digest, CODEC, segments, role="update"))
        turn = Turn(space, self.turns, len(self.made))
        segments, _ = compress(torch.from_numpy(turn.cut(change_P)), turn.space, IN_TURN)
        data = write_update(space, base_digest, IN_TURN, segments, role="update", carrier=turn)
        return self.bench.blobs.put(data)
