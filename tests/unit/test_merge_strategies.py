"""Laws that every strategy keeps, through the whole engine: measured, planned, combined.

A strategy is under them as soon as it is in ``BUILT_IN``. Where one prunes by default, the
laws about what comes back whole take it with the options of ``WHOLE``, which prune nothing.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise import native
from barnraise.errors import MergeError, NotEnoughUpdatesError
from merge import elementwise, segment
from merge.plan import MergeRules
from merge.strategies import (
    BUILT_IN,
    PRE_AGGREGATIONS,
    Bucketing,
    Bulyan,
    CentredClipping,
    GeometricMedian,
    Krum,
    Mean,
    Median,
    MultiKrum,
    NearestNeighbourMixing,
    PreAggregation,
    Strategy,
    TrimmedMean,
)
from merge.strategies.rule import PrunesUpdates
from merging import Layout, combined, merged, planned, updates

WHOLE: dict[str, dict[str, float]] = {
    "ties": {"density": 1.0},
    "dare": {"density": 1.0},
    "della": {"density": 1.0, "epsilon": 0.0},
    "breadcrumbs": {"density": 1.0, "gamma": 0.0},
}
BY_LOT = {"dare", "della"}  # an element's lot depends on the update's place, so another order prunes other elements
PAIRWISE_ONLY = {"slerp"}  # two updates, no more
BEYOND: dict[str, str] = {  # may leave the range of the updates, and why
    "task-arithmetic": "scale is free",
    "ties": "scale is free",
    "dare": "what is kept is scaled up for what is dropped",
    "della": "what is kept is scaled up for what is dropped",
    "breadcrumbs": "scale is free",
    "slerp": "an arc bulges beyond its chord",
    "multi-slerp": "an arc bulges beyond its chord",
    "regmean": "solves for matrices",
}

DEFAULTS: list[Strategy] = [kind() for kind in BUILT_IN]
OTHERS: list[Strategy] = [
    TrimmedMean(trim=0.4),
    Krum(liars=0),
    Krum(liars=3),
    MultiKrum(liars=2, keep=3),
    Bulyan(liars=2),
    GeometricMedian(smoothing=0.1, iterations=3),
    CentredClipping(radius=0.5, iterations=8),
    CentredClipping(radius=1e9, unit="absolute", iterations=1),
]
EVERY = [*DEFAULTS, *OTHERS]
MIXERS: list[tuple[PreAggregation, ...]] = [
    (),
    (NearestNeighbourMixing(),),
    (Bucketing(size=2), NearestNeighbourMixing()),
]
every_strategy = pytest.mark.parametrize("strategy", EVERY, ids=str)
every_mixer = pytest.mark.parametrize("before", MIXERS, ids=lambda before: "+".join(rule.name for rule in before))
quick = settings(deadline=None, max_examples=8)


def whole(strategy: Strategy) -> Strategy:
    """The strategy with options that drop nothing."""
    options = WHOLE.get(strategy.name)
    return dataclasses.replace(strategy, **options) if options else strategy  # type: ignore[type-var]


def enough(strategy: Strategy, before: tuple[PreAggregation, ...] = (), more: int = 0) -> int:
    """So many updates that the rules keep their promise."""
    needed = MergeRules(strategy, before=before).min_updates
    return needed if strategy.name in PAIRWISE_ONLY else needed + more


def mixable(strategy: Strategy, before: tuple[PreAggregation, ...]) -> bool:
    """Whether mixing may come before: the number of mixtures must fit, and a Fisher belongs to one update."""
    return not before or (strategy.name not in PAIRWISE_ONLY and strategy.name != "fisher")


# -- agreement and single updates --------------------------------------------------------


@every_mixer
@every_strategy
@given(seed=st.integers(0, 2**16), more=st.integers(0, 9), scale=st.sampled_from([1e-12, 1e-3, 1.0, 1e6]))
@quick
def test_agreement_is_kept(
    strategy: Strategy, before: tuple[PreAggregation, ...], seed: int, more: int, scale: float
) -> None:
    """Each of K shares and each product is rounded once to float32: at most K + 2 roundings, as many again if mixed."""
    if not mixable(strategy, before):
        return
    rule = whole(strategy)
    count = enough(rule, before, more)
    agreed_P = updates(1, seed=seed)[0] * scale
    roundings = (count + 2) * (1 + len(before))
    found_P = merged([agreed_P.clone() for _ in range(count)], rule, before=before)
    torch.testing.assert_close(found_P, agreed_P, rtol=roundings * 2.0**-24, atol=0)


@every_strategy
@pytest.mark.parametrize("weight", [1.0, 0.1, 7.0, 3e9])
def test_one_update_comes_back_exactly(strategy: Strategy, weight: float) -> None:
    rule = whole(strategy)
    if rule.min_updates > 1:
        with pytest.raises(NotEnoughUpdatesError, match=f"1 updates to merge, .* needs at least {rule.min_updates}"):
            merged(updates(1), rule, weights=[weight])
        return
    if getattr(rule, "divisor", "weights") == "none" or getattr(rule, "radius", 1.0) < 1:
        return  # multiplies by the weight itself, or nears the update by and by
    (only_P,) = updates(1)
    assert torch.equal(merged([only_P], rule, weights=[weight]), only_P)


@every_strategy
def test_too_few_updates_are_refused(strategy: Strategy) -> None:
    with pytest.raises(NotEnoughUpdatesError, match=f"needs at least {strategy.min_updates}"):
        merged(updates(strategy.min_updates - 1), strategy)


@every_strategy
def test_too_few_for_mixing_first_are_refused(strategy: Strategy) -> None:
    before = (Bucketing(size=3),)
    needed = MergeRules(strategy, before=before).min_updates
    assert needed == (strategy.min_updates - 1) * 3 + 1
    if needed > 1:
        with pytest.raises(NotEnoughUpdatesError, match=f"after .*size=3.* needs at least {needed}"):
            merged(updates(needed - 1), strategy, before=before)


# -- order, cuts, machines ---------------------------------------------------------------


@every_strategy
@given(seed=st.integers(0, 2**16))
@quick
def test_the_order_of_updates_does_not_matter(strategy: Strategy, seed: int) -> None:
    """Up to rounding: what is added is added in the order of the digests. Random updates have no ties."""
    rule = whole(strategy) if strategy.name in BY_LOT else strategy
    count = enough(rule, more=3)
    draws = torch.Generator().manual_seed(seed)
    rows, weights = updates(count, seed=seed), (torch.rand(count, generator=draws) + 0.1).tolist()
    order = torch.randperm(count, generator=draws).tolist()
    if strategy.name in PAIRWISE_ONLY:
        weights = [1.0] * count
    again_P = merged([rows[k] for k in order], rule, weights=[weights[k] for k in order])
    torch.testing.assert_close(again_P, merged(rows, rule, weights=weights), rtol=1e-4, atol=1e-5)


@every_strategy
@given(seed=st.integers(0, 2**16))
@quick
def test_the_same_updates_give_the_same_bits_and_are_not_changed(strategy: Strategy, seed: int) -> None:
    rows = updates(enough(strategy, more=2), seed=seed)
    copies = [row_P.clone() for row_P in rows]
    assert torch.equal(merged(rows, strategy), merged(copies, strategy))
    assert all(torch.equal(row_P, copy_P) for row_P, copy_P in zip(rows, copies, strict=True))


@every_mixer
@every_strategy
def test_the_bits_do_not_depend_on_how_a_model_is_cut(
    strategy: Strategy, before: tuple[PreAggregation, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not mixable(strategy, before):
        return
    whole_model = Layout((700, 1, 1299))
    rows = updates(enough(strategy, before, 1), elements=2000)
    weights = [1.0 + k % 3 for k in range(len(rows))]
    rules = MergeRules(strategy, 1.1, before, seed=3)
    plan = planned(rows, weights, rules, whole_model)
    expected_P = combined(rows, plan, rules, whole_model)
    for cuts in [(1,), (700,), (13, 701, 1500)]:
        assert torch.equal(combined(rows, plan, rules, Layout(whole_model.tensors, cuts)), expected_P)
    for block in (64, 977):
        monkeypatch.setattr(segment, "BLOCK", block)
        monkeypatch.setattr(elementwise, "CPU_BLOCK", block)
        assert torch.equal(combined(rows, plan, rules, whole_model), expected_P)


@every_mixer
@every_strategy
def test_the_bits_do_not_depend_on_the_compiled_loops(strategy: Strategy, before: tuple[PreAggregation, ...]) -> None:
    if not mixable(strategy, before):
        return
    rows = updates(enough(strategy, before, 2), elements=9000, common=1.0)
    layout = Layout((5000, 4000), (4096,))
    found_P = merged(rows, strategy, before=before, clip_norm_at=1.0, layout=layout)
    with native.disabled():
        plain_P = merged(rows, strategy, before=before, clip_norm_at=1.0, layout=layout)
    assert torch.equal(found_P, plain_P)


# -- values ------------------------------------------------------------------------------


@every_mixer
@every_strategy
@given(
    seed=st.integers(0, 2**16),
    sizes=st.lists(st.sampled_from([0.0, 1e-30, 1e-6, 1.0, 1e6, 1e15]), min_size=3, max_size=3),
)
@quick
def test_the_result_is_finite(
    strategy: Strategy, before: tuple[PreAggregation, ...], seed: int, sizes: list[float]
) -> None:
    if not mixable(strategy, before):
        return
    rows = updates(enough(strategy, before, 2), elements=64, seed=seed)
    found_P = merged([row_P * sizes[k % 3] for k, row_P in enumerate(rows)], strategy, before=before)
    assert bool(torch.isfinite(found_P).all())


@every_mixer
@every_strategy
def test_updates_that_change_nothing_change_nothing(strategy: Strategy, before: tuple[PreAggregation, ...]) -> None:
    if not mixable(strategy, before):
        return
    found_P = merged([torch.zeros(50)] * enough(strategy, before), strategy, before=before)
    assert not bool(found_P.any())


@every_strategy
def test_the_result_lies_between_the_lowest_and_the_highest(strategy: Strategy) -> None:
    if strategy.name in BEYOND:
        return
    rows = updates(enough(strategy, more=4), common=3.0)
    found_P, rows_KP = merged(rows, strategy), torch.cat([torch.stack(rows), torch.zeros(1, len(rows[0]))])
    assert bool((found_P <= rows_KP.amax(0) + 1e-5).all())
    assert bool((found_P >= rows_KP.amin(0) - 1e-5).all())


def test_every_name_in_the_lists_of_exceptions_is_plausible() -> None:
    """Exceptions are for rules that prune, draw lots or may leave the range; a robust rule is in none of them."""
    robust = {"mean", "median", "trimmed-mean", "krum", "multi-krum", "bulyan", "geometric-median", "centred-clipping"}
    assert not robust & {*WHOLE, *BY_LOT, *PAIRWISE_ONLY, *BEYOND}
    pruning = {kind.name for kind in BUILT_IN if isinstance(kind(), PrunesUpdates)}
    assert pruning <= set(WHOLE)


# -- what a rule says of itself ----------------------------------------------------------


@pytest.mark.parametrize("kind", [*BUILT_IN, *PRE_AGGREGATIONS], ids=lambda kind: str(kind.name))
def test_every_rule_is_frozen_and_names_its_source(kind: type) -> None:
    assert "Source: " in (sys.modules[kind.__module__].__doc__ or "")
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert inspect.getdoc(kind)
    assert hash(kind()) == hash(kind())


# -- the mean ----------------------------------------------------------------------------


def test_the_mean_weighs() -> None:
    rows = [torch.tensor([1.0, 0.0]), torch.tensor([4.0, 8.0])]
    assert merged(rows, Mean(), weights=[3.0, 1.0]).tolist() == [1.75, 2.0]


def test_the_mean_rounds_after_every_operation() -> None:
    rows, shares = updates(3, elements=64, seed=5), [0.25, 0.5, 0.25]
    expected = []
    for column in torch.stack(rows).T.tolist():
        total = torch.tensor(column[0] * shares[0])
        for value, share in zip(column[1:], shares[1:], strict=True):
            total = total + torch.tensor(value * share)
        expected.append(float(total))
    assert merged(rows, Mean(), weights=[1.0, 2.0, 1.0]).tolist() == expected
    assert Mean().combine(rows, torch.tensor([1.0, 2.0, 1.0])).tolist() == expected


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], [-1.0, 3.0], [float("nan"), 1.0], [float("inf"), 1.0]])
@pytest.mark.parametrize("strategy", [Mean(), GeometricMedian(), CentredClipping()], ids=str)
def test_weights_that_cannot_be_shares_are_refused(strategy: Strategy, weights: list[float]) -> None:
    with pytest.raises(MergeError, match="expected finite weights above zero"):
        merged(updates(2), strategy, weights=weights)


@pytest.mark.parametrize("strategy", [Mean(), GeometricMedian(), CentredClipping()], ids=str)
def test_an_update_without_weight_leaves_no_trace(strategy: Strategy) -> None:
    rows = updates(3)
    rows[1].mul_(100.0)
    expected_P = merged([rows[0], rows[2]], strategy)
    without_P = merged(rows, strategy, weights=[1.0, 0.0, 1.0])
    if isinstance(strategy, CentredClipping):  # it still counts in what norm is usual
        rows[1].mul_(0.01)
        without_P = merged(rows, dataclasses.replace(strategy, unit="absolute", radius=10.0), weights=[1.0, 0.0, 1.0])
        expected_P = merged([rows[0], rows[2]], dataclasses.replace(strategy, unit="absolute", radius=10.0))
    torch.testing.assert_close(without_P, expected_P, rtol=1e-6, atol=1e-7)


def test_clipping_shortens_an_update_and_not_its_weight() -> None:
    first_P, second_P = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 40.0])
    found_P = merged([first_P, second_P], Mean(), clip_norm_at=2.0)
    torch.testing.assert_close(found_P, (first_P + second_P * 0.25) / 2)


@given(seed=st.integers(0, 2**16), count=st.integers(1, 11), size=st.integers(1, 4))
@quick
def test_bucketing_before_a_mean_changes_nothing(seed: int, count: int, size: int) -> None:
    rows = updates(count, seed=seed)
    weights = (torch.rand(count, generator=torch.Generator().manual_seed(seed)) + 0.1).tolist()
    found_P = merged(rows, Mean(), weights=weights, before=(Bucketing(size=size),))
    torch.testing.assert_close(found_P, merged(rows, Mean(), weights=weights), rtol=1e-5, atol=1e-6)


# -- median and trimmed mean -------------------------------------------------------------


@pytest.mark.parametrize("rule", [Median(), TrimmedMean()], ids=str)
@given(seed=st.integers(0, 2**16), count=st.integers(5, 12))
@quick
def test_sorting_rules_ignore_order_and_weights_to_the_bit(rule: Strategy, seed: int, count: int) -> None:
    rows_KP = torch.stack(updates(count, seed=seed))
    rows_KP[:, :5] = torch.tensor([0.0, -0.0]).repeat(count)[:count].unsqueeze(1)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    found_P = merged(list(rows_KP), rule)
    again_P = merged(list(rows_KP[order]), rule, weights=[float(k) for k in range(count)])
    assert found_P.numpy().tobytes() == again_P.numpy().tobytes()


def test_the_median_is_the_value_in_the_middle() -> None:
    rows = [torch.tensor([value]) for value in (5.0, -1.0, 2.0, 100.0)]
    assert merged(rows[:3], Median()).tolist() == [2.0]
    assert merged(rows, Median()).tolist() == [3.5]


def test_the_trimmed_mean_drops_the_share_it_says() -> None:
    column: list[Tensor] = [torch.tensor([value]) for value in (-100.0, 1.0, 2.0, 3.0, 1e9)]
    assert merged(column, TrimmedMean(trim=0.2)).tolist() == [2.0]
    assert TrimmedMean(trim=0.2).min_updates == 5
    assert TrimmedMean(trim=0.29).dropped(100) == 29
    assert TrimmedMean(trim=0.1).dropped(30) == 3


@given(trim=st.just(0.0) | st.floats(0.001, 0.4999))
@quick
def test_the_trimmed_mean_always_keeps_something_and_from_its_minimum_on_drops_something(trim: float) -> None:
    rule = TrimmedMean(trim=trim)
    for count in [*range(1, 40), rule.min_updates]:
        assert count - 2 * rule.dropped(count) >= 1
        assert (rule.dropped(count) >= 1) == (trim > 0 and count >= rule.min_updates)
