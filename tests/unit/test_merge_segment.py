"""One segment: what goes in comes out, now or in a later round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from barnraise.config import CodecConfig
from barnraise.errors import MergeError, NonFiniteUpdateError, NotEnoughUpdatesError
from merge import segment as merge_segment_module
from merge.segment import MergedSegment, combine_blocks, merge_segment
from merge.strategies import Mean, OuterNesterov, OuterNone, OuterRule, Strategy, TrimmedMean

CHUNK_STARTS = np.array([0, 4096, 8192, 9001], dtype=np.int64)
SIZE = 9001
DENSE, TOPK = CodecConfig(name="dense"), CodecConfig(name="topk", k=64)


def deltas(updates: int, seed: int = 0) -> list[Tensor]:
    return list(torch.randn(updates, SIZE, generator=torch.Generator().manual_seed(seed)))


def merge(
    rows: Sequence[Tensor],
    *,
    weights: Sequence[float] | None = None,
    factors: Sequence[float] | None = None,
    strategy: Strategy | None = None,
    outer: OuterRule | None = None,
    after: MergedSegment | None = None,
    codec: CodecConfig = DENSE,
) -> MergedSegment:
    return merge_segment(
        rows,
        weights or [1.0] * len(rows),
        factors or [1.0] * len(rows),
        strategy or Mean(),
        outer or OuterNone(),
        after.momentum_P if after else torch.zeros(SIZE),
        after.residual_P if after else torch.zeros(SIZE),
        CHUNK_STARTS,
        codec,
    )


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


def test_momentum_moves_only_through_what_is_returned() -> None:
    outer = OuterNesterov(learning_rate=0.5, momentum=0.9)
    first = merge(deltas(2), outer=outer)
    momentum_P = first.momentum_P.clone()
    second, again = (merge(deltas(2, 1), outer=outer, after=first) for _ in range(2))
    assert torch.equal(second.decoded_P, again.decoded_P)
    assert torch.equal(first.momentum_P, momentum_P)
    torch.testing.assert_close(second.momentum_P, 0.9 * momentum_P + torch.stack(deltas(2, 1)).mean(0))


def test_clip_factors_shrink_an_update_and_not_its_weight() -> None:
    first_P, second_P = deltas(2)
    merged = merge([first_P, second_P], factors=[1.0, 0.25])
    assert torch.equal(merged.decoded_P, first_P * 0.5 + second_P * 0.25 * 0.5)


@pytest.mark.parametrize("strategy", [Mean(), TrimmedMean()], ids=str)
@pytest.mark.parametrize("block", [1, 977, 1 << 20])
def test_the_bits_do_not_depend_on_the_size_of_a_block(
    strategy: Strategy, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row[:2000] for row in deltas(5)]
    weights, factors = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 0.3, 1.0, 0.7, 1.0]
    expected_P = combine_blocks(rows, weights, factors, strategy)
    monkeypatch.setattr(merge_segment_module, "BLOCK", block)
    assert torch.equal(combine_blocks(rows, weights, factors, strategy), expected_P)


def test_nothing_that_goes_in_is_changed() -> None:
    rows = deltas(5)
    before = [row.clone() for row in rows]
    merge(rows, strategy=TrimmedMean(), factors=[0.5] * 5, codec=TOPK)
    assert all(torch.equal(row, copy) for row, copy in zip(rows, before, strict=True))


def test_rounds_that_cannot_be_merged_are_refused() -> None:
    with pytest.raises(NotEnoughUpdatesError, match="0 updates to merge"):
        merge([])
    with pytest.raises(NotEnoughUpdatesError, match="needs at least 5"):
        merge(deltas(4), strategy=TrimmedMean())
    with pytest.raises(MergeError, match="weight_by = 'equal'"):
        merge(deltas(2), weights=[0.0, 0.0])


def test_a_merge_that_overflows_is_refused() -> None:
    huge = [torch.full((SIZE,), 3e38) for _ in range(2)]
    with pytest.raises(NonFiniteUpdateError):
        merge(huge, outer=OuterNesterov(learning_rate=2.0))
