"""Merging one round's updates into a candidate: what a Ray task does, as plain functions of digests.

The same base, updates and configuration give the same candidate, whatever the order of
arrival and however the segments are shared out. Nothing here knows about Ray, the ledger
or the clock, so ``barnraise recompute`` uses it too.

P  elements in the whole space
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load, save
from torch import Tensor

from barnraise.config import CodecConfig, MergeConfig
from barnraise.errors import MergeError
from barnraise.releases.store import BlobStore
from barnraise.updates import EncodedSegment, Update, apply_update, write_update
from barnraise.updates.space import ParameterSpace
from coordinator.models import ModelCache
from coordinator.round import Candidate
from merge.clip import clip_factors
from merge.segment import MergedSegment, merge_segment
from merge.strategies import make_outer, make_strategy

__all__ = ["Bench", "MergeInput", "MergeJob", "assemble", "merge_range", "plan_inputs", "segment_ranges"]


@dataclass(frozen=True)
class Bench:
    """Where a merging task finds and leaves its blobs.

    Attributes:
        blobs: updates, optimiser states and parts, by digest.
        models: whole models, by model digest.
    """

    blobs: BlobStore
    models: ModelCache

    @property
    def space(self) -> ParameterSpace:
        return self.models.space


@dataclass(frozen=True, slots=True)
class MergeInput:
    """One update with what the round decided about it: its weight and the factor that clips its norm."""

    digest: str
    weight: float
    factor: float


@dataclass(frozen=True, slots=True)
class MergeJob:
    """All that a candidate depends on.

    Attributes:
        base_digest: model digest of the base.
        inputs: sorted by digest.
        state_digest: blob with the outer optimiser's momentum and the coordinator's residual that
            belong to the base; None for the first release, where both are zero.
    """

    base_digest: str
    inputs: tuple[MergeInput, ...]
    state_digest: str | None
    merge: MergeConfig
    codec: CodecConfig


def plan_inputs(config: MergeConfig, updates: Sequence[tuple[str, Sequence[float], int]]) -> tuple[MergeInput, ...]:
    """Weights and clip factors of a round, from what the checks measured.

    Args:
        updates: (digest, square sum per segment, tokens) of each update, in any order.
    """
    ordered = sorted(updates)
    norms = [sum(square_sums) ** 0.5 for _, square_sums, _ in ordered]  # in segment order
    factors = clip_factors(norms, config.clip_norm_at)
    weights = [float(tokens) if config.weight_by == "tokens" else 1.0 for _, _, tokens in ordered]
    return tuple(
        MergeInput(digest, weight, factor)
        for (digest, _, _), weight, factor in zip(ordered, weights, factors, strict=True)
    )


def segment_ranges(space: ParameterSpace, segments_per_task: int) -> list[tuple[int, int]]:
    """Consecutive ranges ``[first, end)`` of segments, one a task."""
    count = space.segment_count
    return [(first, min(first + segments_per_task, count)) for first in range(0, count, segments_per_task)]


def merge_range(bench: Bench, job: MergeJob, first: int, end: int) -> str:
    """Merge the segments ``[first, end)`` and return the digest of a part blob with the result."""
    updates = [
        Update.parse(bench.blobs.map(item.digest), bench.space, base_digest=job.base_digest) for item in job.inputs
    ]
    merged = [_merge_one(bench, job, updates, segment) for segment in range(first, end)]
    return bench.blobs.put(_pack_part(merged))


def assemble(bench: Bench, job: MergeJob, parts: Sequence[str]) -> Candidate:
    """Put the parts, in segment order, together: patch file, optimiser state, candidate model.

    The parts stay, for this may be done again; whoever has the candidate may delete them.
    """
    loaded = [load(bench.blobs.read(part)) for part in parts]
    segments = [segment for part in loaded for segment in _unpack_segments(part)]
    patch = write_update(bench.space, job.base_digest, job.codec, segments, role="patch")
    state = {name: np.concatenate([part[name] for part in loaded]) for name in ("momentum", "residual")}
    base_P = bench.models.verified(job.base_digest)
    candidate_P = apply_update(base_P, Update.parse(patch, bench.space, base_digest=job.base_digest))
    if not np.isfinite(candidate_P).all():
        raise MergeError("the merged model has values that are not finite; the round cannot be released")
    return Candidate(
        model_digest=bench.models.put(candidate_P),
        patch_digest=bench.blobs.put(patch),
        patch_bytes=len(patch),
        state_digest=bench.blobs.put(save(state)),
    )


def _merge_one(bench: Bench, job: MergeJob, updates: Sequence[Update], segment: int) -> MergedSegment:
    space = bench.space
    momentum_P, residual_P = _state_of(bench, job, *space.segment_range(segment))
    return merge_segment(
        [torch.from_numpy(update.decode(segment)) for update in updates],
        [item.weight for item in job.inputs],
        [item.factor for item in job.inputs],
        make_strategy(job.merge.strategy, job.merge.options),
        make_outer(job.merge.outer),
        momentum_P=momentum_P,
        residual_P=residual_P,
        chunk_starts=space.segment_chunk_starts(segment),
        codec=job.codec,
    )


def _state_of(bench: Bench, job: MergeJob, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Momentum and residual of the elements ``[start, stop)``; only those are read."""
    if job.state_digest is None:
        return torch.zeros(stop - start), torch.zeros(stop - start)
    with safe_open(bench.blobs.path(job.state_digest), framework="pt") as state:
        return state.get_slice("momentum")[start:stop], state.get_slice("residual")[start:stop]


def _pack_part(merged: Sequence[MergedSegment]) -> bytes:
    arrays: dict[str, NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int64]] = {
        "momentum": _joined([segment.momentum_P for segment in merged]),
        "residual": _joined([segment.residual_P for segment in merged]),
    }
    planes = [(segment.encoded.support, segment.encoded.levels, segment.encoded.scales) for segment in merged]
    arrays["sizes"] = np.array([[len(plane) for plane in row] for row in planes], dtype=np.int64)
    arrays["planes"] = np.frombuffer(b"".join(plane for row in planes for plane in row), dtype=np.uint8)
    return save(arrays)


def _unpack_segments(part: dict[str, NDArray[np.generic]]) -> list[EncodedSegment]:
    planes, at, segments = part["planes"].tobytes(), 0, []
    for row in part["sizes"].tolist():
        cuts = []
        for size in row:
            cuts.append(planes[at : at + size])
            at += size
        segments.append(EncodedSegment(*cuts))
    return segments


def _joined(tensors: Sequence[Tensor]) -> NDArray[np.float32]:
    joined: NDArray[np.float32] = torch.cat(list(tensors)).numpy()
    return joined
