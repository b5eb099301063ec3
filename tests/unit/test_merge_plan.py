"""What is decided from a round's numbers: clipping, mixing, weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise.errors import NotEnoughUpdatesError
from barnraise.updates import Piece
from merge.measure import Measured, measure_pieces
from merge.plan import Decided, MergeRules, clipping, plan_merge
from merge.strategies import Mean, TrimmedMean
from merge.strategies.rule import Rows, Scope

PIECES = (Piece(0, 0, 40, 0), Piece(1, 40, 64, 40))


def rows(updates: int, seed: int = 0) -> list[Tensor]:
    return list(torch.randn(updates, 64, generator=torch.Generator().manual_seed(seed)))


def measured(deltas: list[Tensor]) -> Measured:
    return measure_pieces(deltas, PIECES, magnitudes=False)


@dataclass(frozen=True)
class Pairs:
    """Neighbours are averaged; for tests of mixing."""

    name: ClassVar[str] = "pairs"

    def needed(self, mixtures: int) -> int:
        return 2 * mixtures

    def mix(self, gram_KK: Tensor, weights_K: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        mixing_LK = torch.zeros(len(weights_K) // 2, len(weights_K), dtype=torch.float64)
        for pair in range(len(mixing_LK)):
            mixing_LK[pair, 2 * pair : 2 * pair + 2] = 0.5
        return mixing_LK, mixing_LK @ weights_K * 2


@dataclass(frozen=True)
class Lengths:
    """Weighs everything by its squared norm, so that a test can see which inner products it was shown."""

    scope: Scope = "model"
    linear: ClassVar[bool] = False
    name: ClassVar[str] = "lengths"
    min_updates: int = 1

    def weigh(self, gram_KK: Tensor, weights_K: Tensor) -> Tensor:
        return gram_KK.diagonal().clone()

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        raise NotImplementedError


def test_without_rules_every_update_is_as_it_is() -> None:
    plan = plan_merge(measured(rows(3)), [1.0, 2.0, 3.0], MergeRules(Mean()))
    assert plan.by_tensor == {}
    assert plan.of(1).weights_L.tolist() == [1.0, 2.0, 3.0]
    factors_K = plan.whole.factors
    assert factors_K is not None
    assert factors_K.tolist() == [1.0, 1.0, 1.0]


@given(seed=st.integers(0, 1 << 16), limit=st.floats(0.5, 3))
@settings(deadline=None, max_examples=30)
def test_clipping_follows_the_norms_of_whole_updates(seed: int, limit: float) -> None:
    deltas = [(1 + 5 * k) * row for k, row in enumerate(rows(4, seed))]
    factors_K = clipping(measured(deltas), 4, limit)
    norms = [float(delta.double().norm()) for delta in deltas]
    longest = limit * sorted(norms)[1]
    for norm, factor in zip(norms, factors_K.tolist(), strict=True):
        assert factor == pytest.approx(min(1.0, longest / norm), rel=1e-12)
    decided = plan_merge(measured(deltas), [1.0] * 4, MergeRules(Mean(), clip_norm_at=limit)).whole
    assert decided.factors is not None
    assert torch.equal(decided.factors, factors_K)


def test_mixing_updates_mixes_their_inner_products() -> None:
    deltas = rows(4)
    plan = plan_merge(measured(deltas), [1.0] * 4, MergeRules(Lengths(), before=(Pairs(),)))
    mixed = [0.5 * (deltas[0] + deltas[1]), 0.5 * (deltas[2] + deltas[3])]
    squares = torch.stack([(row.double() ** 2).sum() for row in mixed])
    torch.testing.assert_close(plan.whole.weights_L, squares, rtol=1e-6, atol=0)
    assert plan.whole.factors is None


def test_a_strategy_is_shown_the_tensors_it_asks_for() -> None:
    deltas = rows(2)
    plan = plan_merge(measured(deltas), [1.0, 1.0], MergeRules(Lengths("tensor")))
    assert sorted(plan.by_tensor) == [0, 1]
    for piece in PIECES:
        squares = torch.stack([(row[piece.start : piece.end].double() ** 2).sum() for row in deltas])
        torch.testing.assert_close(plan.of(piece.tensor).weights_L, squares, rtol=1e-12, atol=0)


def test_clipping_is_about_whole_updates_even_for_a_strategy_that_weighs_tensors() -> None:
    deltas = rows(3)
    deltas[2] *= 9
    rules = MergeRules(Lengths("tensor"), clip_norm_at=1.0)
    plan = plan_merge(measured(deltas), [1.0] * 3, rules)
    factors = [plan.of(tensor).factors for tensor in (0, 1)]
    assert factors[0] is not None
    assert factors[1] is not None
    assert torch.equal(factors[0], factors[1])
    assert float(factors[0][2]) < 0.2


def test_mixtures_that_are_too_few_are_refused() -> None:
    deltas = rows(5)
    with pytest.raises(NotEnoughUpdatesError, match=r"5 updates to merge, .* needs at least 10"):
        plan_merge(measured(deltas), [1.0] * 5, MergeRules(TrimmedMean(), before=(Pairs(),)))


@pytest.mark.parametrize(
    ("mixing", "shares"),
    [
        ([[1.0, 0.0], [0.0, 0.5]], [0.25, 0.375]),
        ([[0.5, 0.5]], [0.5, 0.5]),
    ],
)
def test_shares_say_what_part_of_the_sum_an_update_has(mixing: list[list[float]], shares: list[float]) -> None:
    weights_L = torch.tensor([1.0, 3.0][: len(mixing)], dtype=torch.float64)
    decided = Decided(torch.tensor(mixing, dtype=torch.float64), weights_L)
    assert decided.shares.tolist() == shares


def test_weights_of_zero_have_no_shares() -> None:
    assert Decided(torch.eye(2).double(), torch.zeros(2).double()).shares.tolist() == [0.0, 0.0]
