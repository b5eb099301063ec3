"""Laws that every strategy and outer rule keeps, then what each one promises."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise.config import OuterConfig
from barnraise.errors import MergeError, NotEnoughUpdatesError, UnknownStrategyError
from merge.strategies import (
    BUILT_IN,
    Mean,
    OuterNesterov,
    OuterNone,
    Strategy,
    TrimmedMean,
    make_outer,
    make_strategy,
)

every_strategy = pytest.mark.parametrize("strategy", [Mean(), TrimmedMean(), TrimmedMean(trim=0.4)], ids=str)
quick = settings(deadline=None, max_examples=40)


def rows(updates: int, elements: int = 257, seed: int = 0) -> Tensor:
    return torch.randn(updates, elements, generator=torch.Generator().manual_seed(seed))


def enough(strategy: Strategy, more: int = 0) -> int:
    return strategy.min_updates + more


@every_strategy
def test_a_strategy_keeps_agreement(strategy: Strategy) -> None:
    for more in range(4):
        agreed_P = rows(1)[0]
        merged_P = strategy.combine(agreed_P.repeat(enough(strategy, more), 1), torch.ones(enough(strategy, more)))
        torch.testing.assert_close(merged_P, agreed_P, rtol=1e-6, atol=0)


@pytest.mark.parametrize("strategy", [Mean(), TrimmedMean(trim=0.0)], ids=str)
@pytest.mark.parametrize("weight", [1.0, 0.1, 7.0, 3e9])
def test_one_update_comes_back_exactly(strategy: Strategy, weight: float) -> None:
    only_KP = rows(1)
    assert torch.equal(strategy.combine(only_KP, torch.tensor([weight])), only_KP[0])


@every_strategy
@given(seed=st.integers(0, 2**16))
@quick
def test_the_order_of_updates_does_not_matter(strategy: Strategy, seed: int) -> None:
    count = enough(strategy, 3)
    deltas_KP, weights_K = rows(count, seed=seed), torch.rand(count) + 0.1
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    merged_P = strategy.combine(deltas_KP, weights_K)
    again_P = strategy.combine(deltas_KP[order], weights_K[order])
    torch.testing.assert_close(again_P, merged_P, rtol=1e-5, atol=1e-6)


@every_strategy
def test_the_result_lies_between_the_lowest_and_the_highest(strategy: Strategy) -> None:
    deltas_KP = rows(enough(strategy, 4))
    merged_P = strategy.combine(deltas_KP, torch.ones(len(deltas_KP)))
    assert bool((merged_P <= deltas_KP.amax(0) + 1e-6).all())
    assert bool((merged_P >= deltas_KP.amin(0) - 1e-6).all())


@every_strategy
def test_elements_do_not_influence_each_other(strategy: Strategy) -> None:
    deltas_KP = rows(enough(strategy, 2), elements=1001)
    weights_K = torch.rand(len(deltas_KP)) + 0.1
    whole_P = strategy.combine(deltas_KP, weights_K)
    parts = [strategy.combine(part_KP, weights_K) for part_KP in (deltas_KP[:, :13], deltas_KP[:, 13:])]
    assert torch.equal(torch.cat(parts), whole_P)


@every_strategy
def test_the_updates_are_not_changed(strategy: Strategy) -> None:
    deltas_KP = rows(enough(strategy, 2))
    before_KP = deltas_KP.clone()
    strategy.combine(deltas_KP, torch.ones(len(deltas_KP)))
    assert torch.equal(deltas_KP, before_KP)


@every_strategy
def test_too_few_updates_are_refused(strategy: Strategy) -> None:
    with pytest.raises(NotEnoughUpdatesError, match=f"needs at least {strategy.min_updates}"):
        strategy.combine(rows(5)[: strategy.min_updates - 1], torch.ones(strategy.min_updates - 1))


def test_the_mean_weighs() -> None:
    deltas_KP = torch.tensor([[1.0, 0.0], [4.0, 8.0]])
    assert Mean().combine(deltas_KP, torch.tensor([3.0, 1.0])).tolist() == [1.75, 2.0]


def test_the_mean_rounds_after_every_operation() -> None:
    deltas_KP, shares = rows(3, elements=64, seed=5), [0.25, 0.5, 0.25]
    expected = []
    for column in deltas_KP.T.tolist():
        total = torch.tensor(column[0] * shares[0])
        for value, share in zip(column[1:], shares[1:], strict=True):
            total = total + torch.tensor(value * share)
        expected.append(float(total))
    assert Mean().combine(deltas_KP, torch.tensor([1.0, 2.0, 1.0])).tolist() == expected


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], [-1.0, 3.0], [float("nan"), 1.0], [float("inf"), 1.0]])
def test_weights_that_cannot_be_shares_are_refused(weights: list[float]) -> None:
    with pytest.raises(MergeError, match="expected finite weights above zero"):
        Mean().combine(rows(2), torch.tensor(weights))


def test_an_update_without_weight_leaves_no_trace() -> None:
    deltas_KP = rows(3)
    merged_P = Mean().combine(deltas_KP, torch.tensor([1.0, 0.0, 1.0]))
    assert torch.equal(merged_P, Mean().combine(deltas_KP[[0, 2]], torch.ones(2)))


@given(seed=st.integers(0, 2**16), updates=st.integers(5, 16), lies=st.sampled_from([1e30, -1e30, 3.0, 0.0]))
@quick
def test_the_trimmed_mean_survives_its_share_of_liars(seed: int, updates: int, lies: float) -> None:
    rule = TrimmedMean(trim=0.2)
    deltas_KP = rows(updates, seed=seed)
    liars = rule.dropped(updates)
    deltas_KP[:liars] = lies
    honest_KP = deltas_KP[liars:]
    merged_P = rule.combine(deltas_KP, torch.ones(updates))
    assert bool((merged_P <= honest_KP.amax(0) + 1e-5).all())
    assert bool((merged_P >= honest_KP.amin(0) - 1e-5).all())


@given(seed=st.integers(0, 2**16), updates=st.integers(5, 12))
@quick
def test_the_trimmed_mean_is_exactly_permutation_invariant_and_ignores_weights(seed: int, updates: int) -> None:
    deltas_KP = rows(updates, seed=seed)
    deltas_KP[:, :5] = torch.tensor([0.0, -0.0]).repeat(updates)[:updates].unsqueeze(1)
    order = torch.randperm(updates, generator=torch.Generator().manual_seed(seed))
    merged_P = TrimmedMean().combine(deltas_KP, torch.ones(updates))
    again_P = TrimmedMean().combine(deltas_KP[order], torch.arange(updates).float())
    assert merged_P.numpy().tobytes() == again_P.numpy().tobytes()


def test_the_trimmed_mean_drops_the_share_it_says() -> None:
    column_K1 = torch.tensor([-100.0, 1.0, 2.0, 3.0, 1e9]).unsqueeze(1)
    assert TrimmedMean(trim=0.2).combine(column_K1, torch.ones(5)).tolist() == [2.0]
    assert TrimmedMean(trim=0.2).min_updates == 5
    assert TrimmedMean(trim=0.29).dropped(100) == 29
    assert TrimmedMean(trim=0.1).dropped(30) == 3


@given(trim=st.just(0.0) | st.floats(0.001, 0.4999))
@quick
def test_the_trimmed_mean_always_keeps_something_and_from_its_minimum_on_drops_something(trim: float) -> None:
    rule = TrimmedMean(trim=trim)
    for updates in [*range(1, 40), rule.min_updates]:
        assert updates - 2 * rule.dropped(updates) >= 1
        assert (rule.dropped(updates) >= 1) == (trim > 0 and updates >= rule.min_updates)


@pytest.mark.parametrize("trim", [-0.1, 1e-9, 0.5, 1.0, float("nan")])
def test_a_share_that_trims_everything_is_refused(trim: float) -> None:
    with pytest.raises(UnknownStrategyError, match=r"expected 0 or a share in \[0.001, 0.5\)"):
        make_strategy("trimmed-mean", {"trim": trim})


def test_strategies_are_made_by_name() -> None:
    assert make_strategy("mean", {}) == Mean()
    assert make_strategy("trimmed-mean", {"trim": 0.25}) == TrimmedMean(trim=0.25)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("trimed-mean", {}, "did you mean 'trimmed-mean'"),
        ("zebra", {}, "there are mean, trimmed-mean"),
        ("trimmed-mean", {"trimm": 0.1}, "did you mean 'trim'"),
        ("mean", {"trim": 0.1}, "it has none"),
        ("outer-nesterov", {}, "set merge.outer.name = 'outer-nesterov'"),
    ],
)
def test_unknown_names_are_refused_with_those_that_exist(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(UnknownStrategyError, match=message):
        make_strategy(name, options)


@pytest.mark.parametrize("rule", [*BUILT_IN, OuterNesterov, OuterNone], ids=lambda rule: str(rule.name))
def test_every_rule_names_its_source(rule: type) -> None:
    assert "Source:" in (sys.modules[rule.__module__].__doc__ or "")


@pytest.mark.parametrize("outer", [OuterNone(), OuterNesterov(learning_rate=1.0, momentum=0.0)], ids=str)
def test_an_outer_rule_without_effect_gives_the_merged_change_back_exactly(outer: OuterNone | OuterNesterov) -> None:
    merged_P, momentum_P = rows(2)
    step_P, next_P = outer.step(torch.cat([merged_P, torch.tensor([-0.0])]), torch.cat([momentum_P, torch.ones(1)]))
    assert step_P.numpy().tobytes() == torch.cat([merged_P, torch.tensor([-0.0])]).numpy().tobytes()
    assert not bool(next_P.any())


def test_nesterov_is_the_one_of_torch() -> None:
    parameter = torch.zeros(64, requires_grad=True)
    peer = torch.optim.SGD([parameter], lr=0.7, momentum=0.9, nesterov=True)
    ours_P, momentum_P = torch.zeros(64), torch.zeros(64)
    outer = OuterNesterov(learning_rate=0.7, momentum=0.9)
    for merged_P in rows(5, elements=64):
        parameter.grad = -merged_P
        peer.step()
        step_P, momentum_P = outer.step(merged_P, momentum_P)
        ours_P = ours_P + step_P
    torch.testing.assert_close(ours_P, parameter.detach(), rtol=1e-5, atol=1e-6)


def test_outer_rules_are_made_from_the_configuration() -> None:
    assert make_outer(OuterConfig(name="none")) == OuterNone()
    assert make_outer(OuterConfig(learning_rate=0.7, momentum=0.9)) == OuterNesterov(0.7, 0.9)
