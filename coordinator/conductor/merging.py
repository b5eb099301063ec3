"""Merging one round's updates into a candidate: what its tasks do, as plain functions of digests.

    measure_range -> measured -> plan_merge -> range_plans -> merge_range -> assemble

The same base, updates and configuration give the same candidate, whatever the order of
arrival and however the segments are shared out. Nothing here knows about Ray, the ledger
or the clock, so ``barnraise recompute`` uses it too. A task has one segment of every update
in memory at a time.

K  updates in the round, in the order of their digests
P  elements in the whole space
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load
from torch import Tensor

from barnraise.digest import digest_json
from barnraise.errors import MergeError
from barnraise.merge_config import MergeConfig
from barnraise.releases.store import BlobStore
from barnraise.update_config import CodecConfig
from barnraise.updates import Carrier, Part, Piece, Turn, Update, add_segments, apply_update, write_update
from barnraise.updates.carrier import carrier_of
from barnraise.updates.scope import Scope
from barnraise.updates.space import ParameterSpace
from coordinator.acceptance.updates.ranking import weights_from_scores
from coordinator.conductor.parts import pack_part, pack_state, read_state, state_change, unpack_segments
from coordinator.ledger import UpdateRow
from coordinator.masks import mask_of
from coordinator.models import ModelCache
from coordinator.round_events import Candidate
from merge.magnitudes import Magnitudes
from merge.measure import Measured, TensorMeasure, measure_pieces
from merge.plan import MergePlan, MergeRules
from merge.segment import MergedSegment, SegmentUpdates, Trunk, merge_segment, sum_factors, take_step
from merge.strategies import make_before, make_outer, make_strategy
from merge.strategies.rule import PrunesUpdates, UsesFisher

__all__ = [
    "Bench",
    "MergeInput",
    "MergeJob",
    "RangePlan",
    "assemble",
    "by_magnitude",
    "inputs_of",
    "measure_range",
    "merge_range",
    "merge_rules",
    "plan_inputs",
    "range_plans",
    "segment_ranges",
    "shared_carrier",
    "state_note",
]


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
    """One update with its weight in the round."""

    digest: str
    weight: float


@dataclass(frozen=True, slots=True)
class MergeJob:
    """All that a candidate depends on.

    Attributes:
        base_digest: model digest of the base.
        inputs: sorted by digest.
        state_digest: blob with what the outer rule and the coordinator's residual remember of the
            base; None for the first release, where the rule begins and the residual is zero.
        patch: what its patch says something about: everything, or what has its turn. Where the updates address
            some tensors only, these in place of it.
        made_from: model digest that the updates are changes of, where that is not the base: they are
            added to the base as they are.
        mask: digest of the one that the updates are under.
    """

    base_digest: str
    inputs: tuple[MergeInput, ...]
    state_digest: str | None
    merge: MergeConfig
    codec: CodecConfig
    patch: Scope
    made_from: str | None = None
    mask: str | None = None

    @property
    def rules(self) -> MergeRules:
        """How the round merges. What is drawn by lot follows from base and updates, so anybody draws the same."""
        seed = digest_json([self.base_digest, [item.digest for item in self.inputs]])
        return merge_rules(self.merge, int(seed[3:18], 16))


@dataclass(frozen=True)
class RangePlan:
    """What the task that merges the segments ``[first, end)`` must know of whole updates.

    Attributes:
        plan: with decisions of its own only for tensors of the range.
        magnitudes: of every update by number of the tensor; None where the strategy needs none.
    """

    first: int
    end: int
    plan: MergePlan
    magnitudes: Mapping[int, Sequence[Magnitudes]] | None


def merge_rules(config: MergeConfig, seed: int = 0) -> MergeRules:
    """The rules that a configuration names.

    Raises:
        UnknownStrategyError: a name or option that does not exist, or a value out of range.
    """
    strategy = make_strategy(config.strategy, config.options)
    return MergeRules(strategy, config.clip_norm_at, make_before(config.before), seed)


def by_magnitude(rules: MergeRules) -> bool:
    """Whether whole tensors' magnitudes must be counted for the strategy."""
    return isinstance(rules.strategy, PrunesUpdates) and rules.strategy.by_magnitude


def inputs_of(config: MergeConfig, rows: Sequence[UpdateRow]) -> tuple[MergeInput, ...]:
    """Order and weights of a round's updates, as the ledger has them.

    Weights by scores are whole sixteenths: a score is a measurement, and its last digits are the machine's. Where an
    update has none, all weigh the same.
    """
    planned = plan_inputs(config, [(row.digest, row.tokens) for row in rows])
    scores = {row.digest: row.evidence["score"] for row in rows if "score" in (row.evidence or {})}
    if config.weight_by != "scores" or len(scores) < len(planned) or len(planned) < 2:
        return planned
    values = [float(scores[item.digest]["value"]) for item in planned]
    errors = [float(scores[item.digest]["error"]) for item in planned]
    weights = weights_from_scores([item.weight for item in planned], values, errors, config.weight_bound)
    return tuple(
        MergeInput(item.digest, round(16 * weight) / 16) for item, weight in zip(planned, weights, strict=True)
    )


def plan_inputs(config: MergeConfig, updates: Sequence[tuple[str, int]]) -> tuple[MergeInput, ...]:
    """Order and weights of a round's updates.

    Args:
        updates: (digest, tokens) of each, in any order.
    """
    return tuple(
        MergeInput(digest, float(tokens) if config.weight_by == "tokens" else 1.0) for digest, tokens in sorted(updates)
    )


def segment_ranges(space: ParameterSpace, segments_per_task: int) -> list[tuple[int, int]]:
    """Consecutive ranges ``[first, end)`` of segments, one a task."""
    count = space.segment_count
    return [(first, min(first + segments_per_task, count)) for first in range(0, count, segments_per_task)]


def state_note(bench: Bench, job: MergeJob) -> str:
    """What becomes of the base's state when the outer rule was changed since, in words; "" when it was not."""
    return state_change(_state_path(bench, job), make_outer(job.merge.outer))


def shared_carrier(bench: Bench, job: MergeJob) -> Carrier | None:
    """What all updates of a round travel as; None where that is as the change of every element, or not one thing."""
    carriers = {update.scope: update.carrier for update in _updates(bench, job)}
    return next(iter(carriers.values())) if len(carriers) == 1 else None


def measure_range(bench: Bench, job: MergeJob, first: int, end: int) -> list[dict[int, TensorMeasure]]:
    """Measure the segments ``[first, end)``, each on its own: adding up, in one order, is for whoever has all."""
    updates = _updates(bench, job)
    magnitudes = by_magnitude(job.rules)
    part = _part(updates)
    return [
        measure_pieces(_decoded(updates, segment), _pieces(bench.space, part, segment), magnitudes=magnitudes)
        for segment in range(first, end)
    ]


def range_plans(space: ParameterSpace, job: MergeJob, plan: MergePlan, measured: Measured) -> list[RangePlan]:
    """What each merging task is told: of the plan and of the magnitudes, what concerns its tensors."""
    counted, plans = by_magnitude(job.rules), []
    for first, end in segment_ranges(space, job.merge.segments_per_task):
        found = {piece.tensor for segment in range(first, end) for piece in space.pieces(segment)}
        tensors = sorted(found & measured.keys())
        own = MergePlan(plan.whole, {tensor: plan.by_tensor[tensor] for tensor in tensors if tensor in plan.by_tensor})
        counts = {tensor: measured[tensor].magnitudes for tensor in tensors} if counted else None
        plans.append(RangePlan(first, end, own, counts))
    return plans


def merge_range(bench: Bench, job: MergeJob, own: RangePlan) -> str:
    """Merge a range of segments and return the digest of a part blob with the result."""
    updates = _updates(bench, job)
    return bench.blobs.put(
        pack_part([_merge_one(bench, job, own, updates, segment) for segment in range(own.first, own.end)])
    )


def assemble(bench: Bench, job: MergeJob, parts: Sequence[str]) -> Candidate:
    """Put the parts, in segment order, together: patch file, optimiser state, candidate model.

    The parts stay, for this may be done again; whoever has the candidate may delete them.
    """
    loaded = [load(bench.blobs.read(part)) for part in parts]
    segments = [segment for part in loaded for segment in unpack_segments(part)]
    carrier = _carrier(job, _updates(bench, job))
    patch = write_update(bench.space, job.base_digest, job.codec, segments, role="patch", carrier=carrier)
    base_P = bench.models.verified(job.base_digest)
    candidate_P = apply_update(base_P, Update.parse(patch, bench.space, base_digest=job.base_digest))
    if not np.isfinite(candidate_P).all():
        raise MergeError("the merged model has values that are not finite; the round cannot be released")
    return Candidate(
        model_digest=bench.models.put(candidate_P),
        patch_digest=bench.blobs.put(patch),
        patch_bytes=len(patch),
        state_digest=bench.blobs.put(pack_state(loaded, job.merge.outer.name)),
    )


def _merge_one(bench: Bench, job: MergeJob, own: RangePlan, updates: Sequence[Update], segment: int) -> MergedSegment:
    outer = make_outer(job.merge.outer)
    trunk = _trunk(bench, job, updates, segment)
    rules = job.rules
    factors_K = sum_factors(own.plan, rules)
    if factors_K is not None and all(_names_few(update) for update in updates):
        return take_step(_sum(updates, factors_K, segment), outer, trunk, job.codec)
    fishers = _fishers(updates, segment) if isinstance(rules.strategy, UsesFisher) else None
    pieces = _pieces(bench.space, _part(updates), segment)
    decoded = SegmentUpdates(_decoded(updates, segment), pieces, own.magnitudes, fishers)
    return merge_segment(decoded, own.plan, rules, outer, trunk, job.codec)


def _trunk(bench: Bench, job: MergeJob, updates: Sequence[Update], segment: int) -> Trunk:
    """What the base brings along of a segment, and what of it this round moves and says."""
    space, outer = bench.space, make_outer(job.merge.outer)
    state, residual_P = read_state(_state_path(bench, job), outer, *space.segment_range(segment))
    carrier = _carrier(job, updates)
    if carrier is None:
        return Trunk(state, residual_P, space.segment_chunk_starts(segment))
    starts_C, at_Q = carrier.space.segment_chunk_starts(segment), torch.from_numpy(carrier.positions(segment))
    if isinstance(carrier, Turn):
        return Trunk(state, residual_P, starts_C, said_Q=at_Q)
    return Trunk(state, residual_P, starts_C, moving_Q=at_Q)


def _carrier(job: MergeJob, updates: Sequence[Update]) -> Carrier | None:
    """What the patch says something about; None where that is every element."""
    return _part(updates) or carrier_of(job.patch, updates[0].space)


def _names_few(update: Update) -> bool:
    """Whether an update is cheaper to add by what it names than as a dense change."""
    return update.codec.name == "topk" or isinstance(update.carrier, Turn)


def _sum(updates: Sequence[Update], factors_K: Tensor, segment: int) -> Tensor:
    """A segment of a weighted sum of sparse updates, float32; those with the factor 0 are not read."""
    start, end = updates[0].space.segment_range(segment)
    summed_P = np.zeros(end - start, dtype=np.float32)
    used = [(update, factor) for update, factor in zip(updates, factors_K.tolist(), strict=True) if factor != 0]
    add_segments([update for update, _ in used], [factor for _, factor in used], range(segment, segment + 1), summed_P)
    return torch.from_numpy(summed_P)


def _state_path(bench: Bench, job: MergeJob) -> Path | None:
    return bench.blobs.path(job.state_digest) if job.state_digest is not None else None


def _updates(bench: Bench, job: MergeJob) -> list[Update]:
    made_from = job.made_from or job.base_digest
    mask = None if job.mask is None else mask_of(bench.blobs, job.mask, bench.space)
    return [
        Update.parse(bench.blobs.map(item.digest), bench.space, base_digest=made_from, mask=mask) for item in job.inputs
    ]


def _part(updates: Sequence[Update]) -> Part | None:
    """The tensors that a round moves: those that some update addresses; None where these are all."""
    chosen = tuple(any(bits) for bits in zip(*(update.chosen for update in updates), strict=True))
    return None if all(chosen) else Part(updates[0].space, chosen)


def _pieces(space: ParameterSpace, part: Part | None, segment: int) -> tuple[Piece, ...]:
    """The pieces of a segment that a round moves."""
    return space.pieces(segment) if part is None else part.pieces(segment)


def _decoded(updates: Sequence[Update], segment: int) -> list[Tensor]:
    """A segment of every update, K tensors float32 [elements of the segment]."""
    return [torch.from_numpy(update.decode(segment)) for update in updates]


def _fishers(updates: Sequence[Update], segment: int) -> list[Tensor] | None:
    """The diagonal Fisher of every update in a segment; None if one came without."""
    if not all(update.has_fisher for update in updates):
        return None
    return [torch.from_numpy(update.fisher(segment)) for update in updates]
