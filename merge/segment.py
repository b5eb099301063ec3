"""Merge one segment of a round: combine, take the outer step, compress, keep what was left out.

    updates -> prune -> mix -> strategy -> outer rule -> + residual -> compress -> patch
                                                                        |
                                                  next residual <-- left out

This is all that a worker does for a segment, and needs the segment's elements of each update
at once, never whole models. What depends on whole updates is in the plan. Every operation is
element-wise in float32 with multiplies and adds kept apart, so the result has the same bits
on every machine, however a segment is cut into blocks.

K  updates in the round, in the order of their digests
P  elements of the segment, flattened
Q  elements of it that the round moves, where it leaves some tensors as they are; or that the patch says,
   where elements take turns
B  elements of a block
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.errors import MergeError
from barnraise.update_config import CodecConfig
from barnraise.updates import EncodedSegment, Piece
from merge.compress import compress_segment
from merge.draws import Draws
from merge.elementwise import weighted_sum
from merge.exact import product
from merge.magnitudes import Magnitudes
from merge.plan import Decided, MergePlan, MergeRules
from merge.prune import Pruning
from merge.strategies.outer import OuterRule, State
from merge.strategies.rule import PrunesUpdates, Strategy, SumsUpdates, UsesFisher, WeighsUpdates

__all__ = ["MergedSegment", "SegmentUpdates", "Trunk", "combine_segment", "merge_segment", "sum_factors", "take_step"]

BLOCK = 1 << 15  # 128 KiB of each update: a block of 16 of them stays in the second-level cache


@dataclass(frozen=True)
class SegmentUpdates:
    """What the updates say about one segment.

    Attributes:
        deltas: K tensors float32 [P], decoded, finite, in the order of their digests.
        pieces: that make up the segment, or as much of it as the updates address.
        magnitudes: of every update by tensor number, for strategies that prune by them.
        fishers: K tensors float32 [P], for strategies that use them.
    """

    deltas: Sequence[Tensor]
    pieces: Sequence[Piece]
    magnitudes: Mapping[int, Sequence[Magnitudes]] | None = None
    fishers: Sequence[Tensor] | None = None


@dataclass(frozen=True, slots=True)
class MergedSegment:
    """What a round made of one segment.

    Attributes:
        encoded: the segment of the patch.
        decoded_P: float32 [P], the change that ``encoded`` stands for.
        state: of the outer rule, float32 [P] each, for the next round.
        residual_P: float32 [P], what compression left out, for the next round.
    """

    encoded: EncodedSegment
    decoded_P: Tensor
    state: State
    residual_P: Tensor


@dataclass(frozen=True)
class Trunk:
    """What a segment of the trunk brings along from its last release.

    Attributes:
        state: of the outer rule, float32 [P] each.
        residual_P: float32 [P], what compressing earlier rounds left out.
        chunk_starts: int64 [chunks + 1], relative to the segment's start.
        moving_Q: int64 [Q], strictly increasing: the elements that this round moves; None for all. State and
            residual of the others stay as they are, and ``chunk_starts`` are those of the Q elements.
        said_Q: int64 [Q] likewise: the elements that the patch may say; None for all. What the step changes of
            the others goes into the residual, and ``chunk_starts`` are those of the Q elements.
    """

    state: State
    residual_P: Tensor
    chunk_starts: NDArray[np.int64]
    moving_Q: Tensor | None = None
    said_Q: Tensor | None = None


def merge_segment(
    updates: SegmentUpdates, plan: MergePlan, rules: MergeRules, outer: OuterRule, trunk: Trunk, codec: CodecConfig
) -> MergedSegment:
    """Merge one segment; the arguments are not changed.

    Args:
        plan: what was decided from whole updates, by :func:`merge.plan.plan_merge` with the same ``rules``.
        codec: of the patch.

    Raises:
        MergeError: weights that cannot be normalised, or something that a strategy needs is not there.
        NonFiniteUpdateError: the result overflows float32.
    """
    return take_step(combine_segment(updates, plan, rules), outer, trunk, codec)


def take_step(merged_P: Tensor, outer: OuterRule, trunk: Trunk, codec: CodecConfig) -> MergedSegment:
    """From what the strategy made of a segment, float32 [P], to the segment of the patch.

    Raises:
        NonFiniteUpdateError: the result overflows float32.
    """
    if trunk.moving_Q is not None:
        return _step_of_some(merged_P, outer, trunk, trunk.moving_Q, codec)
    step_P, next_state = outer.step(merged_P, trunk.state)
    total_P = torch.add(step_P, trunk.residual_P)
    if trunk.said_Q is None:
        encoded, decoded_P = compress_segment(total_P, trunk.chunk_starts, codec)
    else:
        encoded, decoded_Q = compress_segment(total_P[trunk.said_Q], trunk.chunk_starts, codec)
        decoded_P = torch.zeros_like(total_P).index_copy(0, trunk.said_Q, decoded_Q)
    return MergedSegment(encoded, decoded_P, next_state, torch.sub(total_P, decoded_P))


def _step_of_some(
    merged_P: Tensor, outer: OuterRule, trunk: Trunk, moving_Q: Tensor, codec: CodecConfig
) -> MergedSegment:
    """As :func:`take_step`, of the elements that move; the patch has no others."""
    state_Q = {slot: values_P[moving_Q] for slot, values_P in trunk.state.items()}
    some = take_step(merged_P[moving_Q], outer, Trunk(state_Q, trunk.residual_P[moving_Q], trunk.chunk_starts), codec)

    def within(values_P: Tensor, values_Q: Tensor) -> Tensor:
        return values_P.index_copy(0, moving_Q, values_Q)

    return MergedSegment(
        some.encoded,
        within(torch.zeros_like(merged_P), some.decoded_P),
        {slot: within(trunk.state[slot], values_Q) for slot, values_Q in some.state.items()},
        within(trunk.residual_P, some.residual_P),
    )


def sum_factors(plan: MergePlan, rules: MergeRules) -> Tensor | None:
    """The factor of every update, float32 [K], where the merge is one weighted sum of them in all tensors; else None.

    Who has updates packed can then add them as they are, without a dense vector for each.
    """
    linear_L = None if plan.by_tensor else _linear(plan.whole, rules.strategy)
    return None if linear_L is None else product(linear_L[None, :], plan.whole.mixing_LK)[0].to(torch.float32)


def combine_segment(updates: SegmentUpdates, plan: MergePlan, rules: MergeRules) -> Tensor:
    """Prune, mix and combine, float32 [P]: the change that the strategy makes of the updates; 0 between pieces."""
    merged_P = torch.zeros_like(updates.deltas[0])
    for piece in updates.pieces:
        merged_P[piece.start : piece.end] = _combine_piece(updates, piece, plan.of(piece.tensor), rules)
    return merged_P


def _combine_piece(updates: SegmentUpdates, piece: Piece, decided: Decided, rules: MergeRules) -> Tensor:
    strategy = rules.strategy
    rows = [delta[piece.start : piece.end] for delta in updates.deltas]
    if isinstance(strategy, UsesFisher):
        return _with_fishers(updates, piece, decided, strategy)
    clipping_K = decided.factors
    if isinstance(strategy, PrunesUpdates):
        prunings = _prunings(updates, piece, strategy, rules.seed)
        if clipping_K is not None:
            return strategy.agreement.combine(rows, decided.weights_L, prunings, clipping_K)
        return _in_blocks(rows, decided, strategy, prunings)
    linear_L = _linear(decided, strategy)
    if linear_L is not None:
        factors_K = product(linear_L[None, :], decided.mixing_LK)[0]
        return weighted_sum(rows, factors_K.to(torch.float32))
    if clipping_K is not None and bool((clipping_K == 1).all()):
        return strategy.combine(rows, decided.weights_L.to(torch.float32))
    return _in_blocks(rows, decided, strategy)


def _linear(decided: Decided, strategy: Strategy) -> Tensor | None:
    """The factors of a strategy that is a weighted sum of the mixtures, float64 [L]; None for others."""
    if isinstance(strategy, SumsUpdates):
        return torch.tensor(strategy.factors(decided.weights_L.tolist()), dtype=torch.float64)
    if isinstance(strategy, WeighsUpdates) and strategy.linear:
        return decided.weights_L
    return None


def _in_blocks(
    rows: Sequence[Tensor], decided: Decided, strategy: Strategy, prunings: Sequence[Pruning] = ()
) -> Tensor:
    weights_L = decided.weights_L.to(torch.float32)
    mixing_LK = decided.mixing_LK.to(torch.float32)
    merged_P = torch.empty_like(rows[0])
    for start in range(0, len(merged_P), BLOCK):
        blocks = [row_P[start : start + BLOCK] for row_P in rows]
        if prunings:
            blocks = [kept.moved(start).apply(block_B) for kept, block_B in zip(prunings, blocks, strict=True)]
        mixtures = [weighted_sum(blocks, mixing_K) for mixing_K in mixing_LK]
        merged_P[start : start + BLOCK] = strategy.combine(mixtures, weights_L)
    return merged_P


def _prunings(updates: SegmentUpdates, piece: Piece, strategy: PrunesUpdates, seed: int) -> list[Pruning]:
    """What is kept of each update, from the beginning of a piece."""
    counts: Sequence[Magnitudes | None] = [None] * len(updates.deltas)
    if strategy.by_magnitude:
        assert updates.magnitudes is not None, f"{strategy} needs magnitudes, which were not measured"
        counts = updates.magnitudes[piece.tensor]
    return [strategy.pruning(found, Draws(seed, k, piece.place)) for k, found in enumerate(counts)]


def _with_fishers(updates: SegmentUpdates, piece: Piece, decided: Decided, strategy: UsesFisher) -> Tensor:
    """A Fisher belongs to one update, so updates may be clipped before, not mixed."""
    factors_K = decided.factors
    if updates.fishers is None or factors_K is None:
        missing = "a Fisher with every update" if updates.fishers is None else "updates that were not mixed"
        raise MergeError(f"{strategy} needs {missing}. Set update.fisher, and no merge.before.")
    cut = slice(piece.start, piece.end)
    rows = [torch.mul(delta[cut], float(f)) for delta, f in zip(updates.deltas, factors_K, strict=True)]
    return strategy.combine_with_fisher(rows, [f[cut] for f in updates.fishers], decided.weights_L.to(torch.float32))
