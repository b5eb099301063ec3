"""One segment: what goes in comes out, now or in a later round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from barnraise.errors import MergeError, NonFiniteUpdateError, NotEnoughUpdatesError
from barnraise.update_config import CodecConfig
from barnraise.updates import Piece
from merge import segment as merge_segment_module
from merge.draws import Draws
from merge.magnitudes import Magnitudes
from merge.measure import measure_pieces
from merge.plan import Decided, MergePlan, MergeRules, plan_merge
from merge.segment import MergedSegment, SegmentUpdates, Trunk, combine_segment, merge_segment, take_step
from merge.strategies import Mean, OuterNesterov, OuterNone, OuterRule, Strategy, TrimmedMean
from merge.strategies.rule import Rows, Scope

CHUNK_STARTS = np.array([0, 4096, 8192, 9001], dtype=np.int64)
SIZE = 9001
PIECES = (Piece(0, 0, 8192, 0), Piece(1, 8192, SIZE, 8192))
DENSE, TOPK = CodecConfig(name="dense"), CodecConfig(name="topk", k=64)


def deltas(updates: int, seed: int = 0) -> list[Tensor]:
    return list(torch.randn(updates, SIZE, generator=torch.Generator().manual_seed(seed)))


def plan_of(rows: Sequence[Tensor], rules: MergeRules, weights: Sequence[float] | None = None) -> MergePlan:
    measured = measure_pieces(rows, PIECES, magnitudes=False) if rows else {}
    return plan_merge(measured, weights or [1.0] * len(rows), rules)


def merge(
    rows: Sequence[Tensor],
    *,
    weights: Sequence[float] | None = None,
    rules: MergeRules | None = None,
    outer: OuterRule | None = None,
    after: MergedSegment | None = None,
    codec: CodecConfig = DENSE,
) -> MergedSegment:
    rules, outer = rules or MergeRules(Mean()), outer or OuterNone()
    state = after.state if after else outer.initial(SIZE)
    trunk = Trunk(state, after.residual_P if after else torch.zeros(SIZE), CHUNK_STARTS)
    updates = SegmentUpdates(rows, PIECES)
    return merge_segment(updates, plan_of(rows, rules, weights), rules, outer, trunk, codec)


def test_one_update_sent_dense_comes_back_exactly() -> None:
    (only_P,) = deltas(1)
    merged = merge([only_P], outer=OuterNesterov())
    assert torch.equal(merged.decoded_P, only_P)
    assert not bool(merged.residual_P.any())


def test_what_compression_leaves_out_is_kept() -> None:
    rows = deltas(3)
    exact, merged = merge(rows), merge(rows, codec=TOPK)
    torch.testing.assert_close(merged.decoded_P + merged.residual_P, exact.decoded_P, rtol=1e-6, atol=1e-6)
    assert int(torch.count_nonzero(merged.decoded_P)) <= 64 * 2 + 64


def test_the_residual_arrives_in_later_rounds() -> None:
    (wanted_P,) = deltas(1)
    merged = merge([wanted_P], codec=TOPK)
    arrived_P = merged.decoded_P.clone()
    for _ in range(200):
        merged = merge([torch.zeros(SIZE)], codec=TOPK, after=merged)
        arrived_P += merged.decoded_P
    assert float((wanted_P - arrived_P).norm()) < 0.2 * float(wanted_P.norm())
    torch.testing.assert_close(arrived_P + merged.residual_P, wanted_P, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("codec", [DENSE, CodecConfig(name="blockwise", bits=4)], ids=["dense", "4 bits"])
def test_a_patch_of_some_elements_leaves_the_others_to_the_residual(codec: CodecConfig) -> None:
    """The step is taken everywhere, as if the patch said everything; nothing of it is lost."""
    outer = OuterNesterov(learning_rate=2.0, momentum=0.5)
    rows, before_P = deltas(3), deltas(1, 7)[0]
    said_Q = torch.arange(3, SIZE, 4)
    starts_C = np.searchsorted(said_Q.numpy(), CHUNK_STARTS)
    merged_P = combine_segment(SegmentUpdates(rows, PIECES), plan_of(rows, MergeRules(Mean())), MergeRules(Mean()))
    state = {"momentum": deltas(1, 8)[0]}
    whole = take_step(merged_P, outer, Trunk(state, before_P, CHUNK_STARTS), DENSE)
    found = take_step(merged_P, outer, Trunk(state, before_P, starts_C, said_Q=said_Q), codec)
    others = torch.ones(SIZE, dtype=torch.bool)
    others[said_Q] = False
    assert torch.equal(found.state["momentum"], whole.state["momentum"])
    assert not bool(found.decoded_P[others].any())
    assert bool(found.decoded_P[said_Q].any())
    assert torch.equal(found.residual_P[others], whole.decoded_P[others])
    assert torch.equal(found.residual_P, whole.decoded_P - found.decoded_P)
    assert (codec == DENSE) == (not bool(found.residual_P[said_Q].any()))


def test_momentum_moves_only_through_what_is_returned() -> None:
    outer = OuterNesterov(learning_rate=0.5, momentum=0.9)
    first = merge(deltas(2), outer=outer)
    momentum_P = first.state["momentum"].clone()
    second, again = (merge(deltas(2, 1), outer=outer, after=first) for _ in range(2))
    assert torch.equal(second.decoded_P, again.decoded_P)
    assert torch.equal(first.state["momentum"], momentum_P)
    torch.testing.assert_close(second.state["momentum"], 0.9 * momentum_P + torch.stack(deltas(2, 1)).mean(0))


def test_clipping_shrinks_an_update_and_not_its_weight() -> None:
    first_P, second_P = deltas(2)
    long_P = 4.0 * second_P
    merged_P = merge([first_P, long_P], rules=MergeRules(Mean(), clip_norm_at=1.0)).decoded_P
    factor = float(first_P.double().norm() / long_P.double().norm())
    torch.testing.assert_close(merged_P, first_P * 0.5 + long_P * factor * 0.5, rtol=1e-5, atol=1e-6)


@dataclass(frozen=True)
class Heaviest:
    """Of each tensor the update that is longest there; for tests of the scope."""

    name: ClassVar[str] = "heaviest"
    scope: ClassVar[Scope] = "tensor"
    linear: ClassVar[bool] = True
    min_updates: int = 1

    def weigh(self, gram_KK: Tensor, weights_K: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(gram_KK.diagonal().argmax(), len(gram_KK)).to(torch.float64)

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        raise NotImplementedError


def test_a_strategy_may_weigh_each_tensor_on_its_own() -> None:
    first_P, second_P = deltas(2)
    first_P[:8192] *= 3.0
    second_P[8192:] *= 3.0
    merged_P = merge([first_P, second_P], rules=MergeRules(Heaviest())).decoded_P
    assert torch.equal(merged_P[:8192], first_P[:8192])
    assert torch.equal(merged_P[8192:], second_P[8192:])


@dataclass(frozen=True)
class Pruned:
    """The mean of what is left of updates after dropping by lot or by size; for tests of pruning."""

    by_magnitude: bool = False
    name: ClassVar[str] = "pruned"
    min_updates: int = 1

    def prune(self, delta_P: Tensor, magnitudes: Magnitudes | None, draws: Draws) -> Tensor:
        if magnitudes is None:
            return torch.where(draws.uniform(len(delta_P), delta_P.device) < 0.5, delta_P, 0.0)
        return torch.where(delta_P.abs() >= magnitudes.largest(magnitudes.elements // 2), delta_P, 0.0)

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        return Mean().combine(deltas_KP, weights_K)


def counted(rows: Sequence[Tensor], pieces: Sequence[Piece]) -> Mapping[int, Sequence[Magnitudes]]:
    measured = measure_pieces(rows, pieces, magnitudes=True)
    return {tensor: found.magnitudes for tensor, found in measured.items()}


CUTS = ((0, 4096), (4096, SIZE))
MIXED = MergePlan(Decided(torch.rand(3, 5, dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0]).double()), {})
CLIPPED = MergePlan(Decided(torch.diag(torch.rand(5, dtype=torch.float64)), torch.rand(5, dtype=torch.float64)), {})


@pytest.mark.parametrize("strategy", [Mean(), TrimmedMean(trim=0.4), Pruned(), Pruned(by_magnitude=True)], ids=str)
@pytest.mark.parametrize("plan", [MIXED, CLIPPED], ids=["mixed", "clipped"])
def test_the_bits_depend_neither_on_blocks_nor_on_segments(
    strategy: Strategy, plan: MergePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, rules = deltas(5), MergeRules(strategy, seed=7)
    whole = (Piece(0, 0, SIZE, 0),)
    counts = counted(rows, whole)
    expected_P = combine_segment(SegmentUpdates(rows, whole, counts), plan, rules)
    for block in (977, 1 << 20):
        monkeypatch.setattr(merge_segment_module, "BLOCK", block)
        assert torch.equal(combine_segment(SegmentUpdates(rows, whole, counts), plan, rules), expected_P)
    parts = [
        SegmentUpdates([row[start:end] for row in rows], (Piece(0, 0, end - start, start),), counts)
        for start, end in CUTS
    ]
    assert torch.equal(torch.cat([combine_segment(part, plan, rules) for part in parts]), expected_P)


def test_nothing_that_goes_in_is_changed() -> None:
    rows = deltas(5)
    before = [row.clone() for row in rows]
    merge(rows, rules=MergeRules(TrimmedMean(), clip_norm_at=0.9), codec=TOPK)
    assert all(torch.equal(row, copy) for row, copy in zip(rows, before, strict=True))


@dataclass(frozen=True)
class Sure:
    """Uses Fishers; for tests of what happens without them."""

    name: ClassVar[str] = "sure"
    min_updates: int = 1

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        raise NotImplementedError

    def combine_with_fisher(self, deltas_KP: Rows, fishers_KP: Rows, weights_K: Tensor) -> Tensor:
        return torch.mul(deltas_KP[0], fishers_KP[0])


def test_fishers_come_along_or_the_merge_is_refused() -> None:
    rows, rules = deltas(2), MergeRules(Sure())
    plan = plan_of(rows, rules)
    with_fishers = SegmentUpdates(rows, PIECES, fishers=[torch.full((SIZE,), 2.0)] * 2)
    assert torch.equal(combine_segment(with_fishers, plan, rules), rows[0] * 2.0)
    with pytest.raises(MergeError, match=r"Set update\.fisher"):
        combine_segment(SegmentUpdates(rows, PIECES), plan, rules)
    with pytest.raises(MergeError, match=r"no merge\.before"):
        combine_segment(with_fishers, MergePlan(Decided(torch.ones(1, 2).double(), torch.ones(1).double()), {}), rules)


def test_rounds_that_cannot_be_merged_are_refused() -> None:
    with pytest.raises(NotEnoughUpdatesError, match="0 updates to merge"):
        merge([])
    with pytest.raises(NotEnoughUpdatesError, match="needs at least 5"):
        merge(deltas(4), rules=MergeRules(TrimmedMean()))
    with pytest.raises(MergeError, match="weight_by = 'equal'"):
        merge(deltas(2), weights=[0.0, 0.0])


def test_a_merge_that_overflows_is_refused() -> None:
    huge = [torch.full((SIZE,), 3e38) for _ in range(2)]
    with pytest.raises(NonFiniteUpdateError):
        merge(huge, outer=OuterNesterov(learning_rate=2.0))
