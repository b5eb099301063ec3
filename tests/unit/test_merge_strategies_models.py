"""What each rule of model merging promises, through the engine: measured, planned, combined."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise import native
from barnraise.errors import MergeError, UnknownStrategyError
from barnraise.updates import Piece
from merge.angles import angle, sine_and_cosine
from merge.draws import Draws
from merge.magnitudes import Magnitudes
from merge.plan import MergeRules
from merge.segment import SegmentUpdates, combine_segment
from merge.strategies import (
    Breadcrumbs,
    Dare,
    Della,
    Fisher,
    Mean,
    ModelStock,
    MultiSlerp,
    RegMean,
    Slerp,
    Strategy,
    TaskArithmetic,
    Ties,
    make_strategy,
)
from merge.strategies.consensus import Consensus
from merge.strategies.options import Option
from merging import Layout, combined, merged, planned, updates

quick = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**16)


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_weights(count: int, seed: int) -> list[float]:
    return [float(weight) for weight in torch.rand(count, generator=draws(seed)) + 0.1]


# -- task arithmetic ---------------------------------------------------------------------


@given(seed=seeds, count=st.integers(1, 6), scale=st.floats(-2, 2))
@quick
def test_task_arithmetic_is_the_scaled_sum(seed: int, count: int, scale: float) -> None:
    rows, weights = updates(count, seed=seed), random_weights(count, seed)
    weights[0] = -weights[0]  # what was taught can be taken away
    expected_P = sum(row_P.double() * weight * scale for row_P, weight in zip(rows, weights, strict=True))
    found_P = merged(rows, TaskArithmetic(scale, "none"), weights=weights)
    torch.testing.assert_close(found_P.double(), torch.as_tensor(expected_P), rtol=1e-5, atol=1e-6)


def test_task_arithmetic_of_scale_1_is_the_mean_bit_for_bit() -> None:
    rows, weights = updates(5), random_weights(5, 0)
    assert torch.equal(merged(rows, TaskArithmetic(), weights=weights), merged(rows, Mean(), weights=weights))


# -- TIES, and what updates agree on -----------------------------------------------------


def agreed(column: Sequence[float], weights: Sequence[float], rule: Consensus) -> float:
    """One element, slowly, from the definition."""
    values = [value * weight for value, weight in zip(column, weights, strict=True)]
    mass = math.fsum(values)
    votes = sum((value > 0) - (value < 0) for value in values)
    side = (votes if rule.elect == "count" else 0) or mass
    chosen = [k for k, value in enumerate(values) if value * side > 0]
    if not chosen:
        return 0.0
    divisor = math.fsum(weights[k] for k in chosen) if rule.divisor == "weights" else 1.0
    return rule.scale * math.fsum(values[k] for k in chosen) / divisor


@pytest.mark.parametrize("elect", ["mass", "count"])
@pytest.mark.parametrize("divisor", ["weights", "none"])
@given(seed=seeds, count=st.sampled_from([1, 2, 4, 8]))
@quick
def test_electing_is_as_defined(elect: str, divisor: str, seed: int, count: int) -> None:
    """Small whole numbers and shares that are powers of two, so that sums are exact and draws are frequent."""
    rows = [row_P.round() for row_P in updates(count, elements=80, seed=seed)]
    weights = [1.0 / count] * count if divisor == "weights" else [1.0 + k % 2 for k in range(count)]
    rule = Consensus("ties", elect, divisor, 0.5)
    expected = [agreed(column, weights, rule) for column in torch.stack(rows).T.tolist()]
    found_P = rule.combine(rows, torch.tensor(weights))
    torch.testing.assert_close(found_P, torch.tensor(expected), rtol=1e-6, atol=0)


def test_a_draw_changes_nothing_and_equal_votes_go_to_the_greater_mass() -> None:
    rows = [torch.tensor([1.0, 1.0, -3.0]), torch.tensor([-1.0, -2.0, 1.0]), torch.tensor([0.0, 0.0, 1.0])]
    assert Consensus("ties", "mass").combine(rows, torch.ones(3)).tolist() == [0.0, -2.0, -3.0]
    assert Consensus("ties", "count").combine(rows, torch.ones(3)).tolist() == [0.0, -2.0, 1.0]


@given(seed=seeds, count=st.integers(1, 6))
@quick
def test_ties_prefers_no_direction(seed: int, count: int) -> None:
    rows = updates(count, seed=seed)
    found_P = merged([-row_P for row_P in rows], Ties(density=0.5))
    assert torch.equal(found_P, -merged(rows, Ties(density=0.5)))


@given(seed=seeds, count=st.integers(1, 6))
@quick
def test_ties_of_updates_that_agree_in_sign_is_the_mean_of_those_that_changed_the_element(
    seed: int, count: int
) -> None:
    signs_P = torch.randn(300, generator=draws(seed)).sign()
    rows = [row_P.abs() * signs_P * (row_P > 0) for row_P in updates(count, seed=seed)]
    weights = random_weights(count, seed)
    weighed = torch.tensor(weights)[:, None] * (torch.stack(rows) != 0)
    expected_P = (torch.stack(rows) * weighed).sum(0) / weighed.sum(0).clamp(min=1e-30)
    torch.testing.assert_close(merged(rows, Ties(density=1.0), weights=weights), expected_P, rtol=1e-5, atol=1e-7)


def test_ties_trims_each_update_and_each_tensor_by_itself() -> None:
    rows = updates(2, elements=1000)
    rows[1].mul_(100.0)
    rows[0][:400].mul_(50.0)
    layout = Layout((400, 600), (500,))
    for row_P, other_P in itertools.permutations(rows):
        found_P = merged([row_P, torch.zeros_like(other_P)], Ties(density=0.25, divisor="none"), layout=layout)
        for start, size in ((0, 400), (400, 600)):
            tensor_P, kept_P = row_P[start : start + size].abs(), found_P[start : start + size] != 0
            count = int(kept_P.sum())
            assert size // 4 <= count <= size // 4 + size * 0.01
            assert float(tensor_P[kept_P].min()) > float(tensor_P[~kept_P].max())


def test_the_masses_decide_and_not_the_number() -> None:
    rows = [torch.tensor([5.0]), torch.tensor([-1.0]), torch.tensor([-1.0])]
    assert merged(rows, Ties(density=1.0)).tolist() == [5.0]
    assert merged(rows, Ties(density=1.0, elect="count")).tolist() == [-1.0]
    assert merged(rows, Ties(density=1.0), weights=[1.0, 9.0, 9.0]).tolist() == [-1.0]


# -- rules that draw lots ----------------------------------------------------------------


@pytest.mark.parametrize("clip", [None, 0.8])
def test_dare_that_drops_nothing_is_task_arithmetic_bit_for_bit(clip: float | None) -> None:
    rows, weights = updates(5, elements=70_001), random_weights(5, 3)
    found_P = merged(rows, Dare(density=1.0, scale=0.7), weights=weights, clip_norm_at=clip)
    assert torch.equal(found_P, merged(rows, TaskArithmetic(scale=0.7), weights=weights, clip_norm_at=clip))


@pytest.mark.parametrize(
    "rule", [Dare(density=0.3), Dare(density=0.9), Della(density=0.3, epsilon=0.4, consensus="sum")], ids=str
)
def test_what_stays_keeps_the_expected_sum(rule: Strategy) -> None:
    """Over 100,000 elements, five standard deviations: sqrt(1/q - 1) of an element at the worst q."""
    lowest = 0.1 if isinstance(rule, Della) else float(getattr(rule, "density", 0.0))
    rows = [torch.full((100_000,), 1.0) + 0.1 * row_P for row_P in updates(3, elements=100_000)]
    error_P = merged(rows, rule) - merged(rows, Mean())
    deviation = 1.5 * math.sqrt(1 / lowest - 1) / math.sqrt(3 * len(error_P))
    assert abs(float(error_P.mean())) < 5 * deviation
    assert all(abs(float(part_P.mean())) < 5 * deviation * math.sqrt(2) for part_P in error_P.chunk(2))


def test_dare_keeps_its_share_of_every_size_and_rescales_it() -> None:
    (row_P,) = updates(1, elements=200_000)
    found_P = merged([row_P], Dare(density=0.25))
    stays_P = found_P != 0
    assert torch.equal(found_P[stays_P], row_P[stays_P] / 0.25)
    for part in row_P.abs().argsort().chunk(4):
        assert abs(float(stays_P[part].float().mean()) - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 50_000)


def test_della_keeps_large_elements_more_often_and_divides_each_by_its_own_probability() -> None:
    (row_P,) = updates(1, elements=200_000)
    found_P = merged([row_P], Della(density=0.4, epsilon=0.4, consensus="sum"))
    stays_P = found_P != 0
    by_size = row_P.abs().argsort()
    for part, expected in zip(by_size.chunk(10), torch.linspace(0.22, 0.58, 10).tolist(), strict=True):
        assert abs(float(stays_P[part].float().mean()) - expected) < 5 * math.sqrt(0.25 / 20_000)
    ranks_P = torch.empty(len(row_P))
    ranks_P[by_size] = torch.arange(len(row_P)) / len(row_P)
    keeps_P = row_P[stays_P] / found_P[stays_P]
    torch.testing.assert_close(keeps_P, 0.2 + 0.4 * ranks_P[stays_P], rtol=0, atol=0.4 * 0.005)


def test_another_seed_drops_other_elements_and_each_update_its_own() -> None:
    rules = [MergeRules(Dare(density=0.5), seed=seed) for seed in (1, 2)]
    layout = Layout((10_000,))
    ones = [torch.ones(10_000), torch.full((10_000,), 10.0)]
    first_P, second_P = (combined(ones, planned(ones, [1.0, 1.0], rule, layout), rule, layout) for rule in rules)
    assert 0.22 < float((first_P == second_P).float().mean()) < 0.28  # a quarter if they are independent
    assert set(first_P.tolist()) == {0.0, 1.0, 10.0, 11.0}


def test_ties_may_follow_the_lots() -> None:
    rows = [torch.full((1000,), 1.0), torch.full((1000,), -3.0)]
    found_P = merged(rows, Dare(density=0.5, consensus="ties"))
    assert set(found_P.tolist()) == {0.0, 2.0, -6.0}


# -- breadcrumbs -------------------------------------------------------------------------


def test_breadcrumbs_keeps_the_middle() -> None:
    row_P = torch.arange(1.0, 1001.0)[torch.randperm(1000, generator=draws(0))]
    found_P = merged([row_P], Breadcrumbs(density=0.5, gamma=0.1))
    kept = found_P[found_P != 0].sort().values
    assert 500 <= len(kept) <= 510
    assert 900 <= float(kept[-1]) <= 904  # never more than gamma is dropped; 8 significant bits are 4 in 1000
    assert torch.equal(kept, torch.arange(float(kept[0]), float(kept[-1]) + 1))


def test_breadcrumbs_drops_no_outlier_if_that_would_drop_too_many() -> None:
    row_P = torch.ones(100)
    assert torch.equal(merged([row_P], Breadcrumbs(density=0.5, gamma=0.1)), row_P)


def test_breadcrumbs_without_outliers_keeps_what_ties_keeps() -> None:
    (row_P,) = updates(1, elements=5000)
    found_P = merged([row_P], Breadcrumbs(density=0.3, gamma=0.0))
    assert torch.equal(found_P, merged([row_P], Ties(density=0.3)))


# -- pruning, however it is carried out --------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        Ties(density=0.3),
        Ties(density=0.3, elect="count", divisor="none"),
        Dare(density=0.5),
        Dare(density=0.5, consensus="ties"),
        Della(),
        Breadcrumbs(density=0.5, gamma=0.05, consensus="ties"),
    ],
    ids=str,
)
@pytest.mark.parametrize("place", [0, (1 << 32) - 3000])
def test_pruning_apart_and_in_one_pass_give_the_same_bits(rule: Strategy, place: int) -> None:
    rows = updates(4, elements=9001)
    counts = [Magnitudes.of(row_P) for row_P in rows]
    lots = [Draws(5, k, place) for k in range(4)]
    weights_K, clipping_K = torch.tensor([1.0, 2.0, 0.0, 0.5]), torch.ones(4, dtype=torch.float64)
    assert isinstance(rule, Ties | Dare | Della | Breadcrumbs)
    prunings = [rule.pruning(counts[k], lots[k]) for k in range(4)]
    expected_P = rule.agreement.combine(rows, weights_K, prunings, clipping_K)
    pruned = [kept.apply(row_P) for kept, row_P in zip(prunings, rows, strict=True)]
    for allowed in (True, False):
        if allowed:
            assert torch.equal(rule.combine(pruned, weights_K), expected_P)
            continue
        with native.disabled():
            assert torch.equal(rule.combine(pruned, weights_K), expected_P)
            assert torch.equal(rule.agreement.combine(rows, weights_K, prunings, clipping_K), expected_P)


@pytest.mark.parametrize("rule", [Ties(density=0.3), Breadcrumbs(), Dare(density=0.4), Della()], ids=str)
def test_the_rows_of_a_mapped_file_need_not_be_aligned(rule: Strategy) -> None:
    rows = updates(3, elements=4099)
    shifted = [torch.cat([torch.zeros(1), row_P])[1:] for row_P in rows]
    assert torch.equal(merged(shifted, rule), merged(rows, rule))


# -- slerp -------------------------------------------------------------------------------


@given(seed=seeds, size=st.floats(1e-6, 1e6))
@quick
def test_slerp_ends_at_its_ends(seed: int, size: float) -> None:
    first_P, second_P = updates(2, seed=seed)
    second_P = second_P * size
    assert torch.equal(merged([first_P, second_P], Slerp(t=0.0)), first_P)
    assert torch.equal(merged([first_P, second_P], Slerp(t=1.0)), second_P)


@given(seed=seeds, t=st.floats(0, 1), common=st.floats(0, 30))
@quick
def test_slerp_keeps_the_norm_and_goes_its_share_of_the_angle(seed: int, t: float, common: float) -> None:
    rows = [row_P / row_P.norm() for row_P in updates(2, seed=seed, common=common)]
    found_P = merged(rows, Slerp(t=t)).double()
    assert float(found_P.norm()) == pytest.approx(1.0, abs=1e-5)
    whole = angle(float(torch.dot(rows[0].double(), rows[1].double())))
    part = angle(float(torch.dot(found_P, rows[0].double()) / found_P.norm()))
    assert part == pytest.approx(t * whole, abs=2e-3)


def test_slerp_of_nearly_parallel_opposite_or_absent_updates_is_a_straight_line() -> None:
    (row_P,) = updates(1)
    for other_P in (row_P * 2, row_P * -1, torch.zeros_like(row_P)):
        torch.testing.assert_close(merged([row_P, other_P], Slerp(t=0.25)), 0.75 * row_P + 0.25 * other_P)


def test_slerp_has_an_angle_for_each_tensor() -> None:
    rows = updates(2, elements=500)
    rows[1][:200] = rows[0][:200] * 3
    found_P = merged(rows, Slerp(), layout=Layout((200, 300), (77,)))
    torch.testing.assert_close(found_P[:200], (rows[0][:200] + rows[1][:200]) / 2)
    torch.testing.assert_close(found_P[200:], merged([row_P[200:] for row_P in rows], Slerp()))
    assert not torch.allclose(found_P[200:], (rows[0][200:] + rows[1][200:]) / 2, rtol=0.01)


def test_slerp_goes_between_two() -> None:
    with pytest.raises(MergeError, match=r"3 updates to merge, slerp goes between two\. Use multi-slerp"):
        merged(updates(3), Slerp())


@pytest.mark.parametrize("cosine", [-1.0, -0.999999, -0.5, 0.0, 1e-9, 0.3, 0.999, 1 - 1e-12, 1.0])
def test_angles_are_those_of_the_mathematical_library(cosine: float) -> None:
    assert angle(cosine) == pytest.approx(math.acos(cosine), rel=1e-14, abs=1e-15)


@given(radians=st.floats(0, math.pi))
@quick
def test_sines_are_those_of_the_mathematical_library(radians: float) -> None:
    assert sine_and_cosine(radians) == pytest.approx((math.sin(radians), math.cos(radians)), rel=1e-14, abs=2e-15)


# -- multi-slerp -------------------------------------------------------------------------


@given(seed=seeds, t=st.floats(0.05, 0.95), steps=st.integers(1, 10))
@quick
def test_multi_slerp_of_two_of_equal_length_is_slerp(seed: int, t: float, steps: int) -> None:
    rows = [row_P / row_P.norm() * 3 for row_P in updates(2, seed=seed)]
    found_P = merged(rows, MultiSlerp(steps=steps), weights=[1 - t, t])
    torch.testing.assert_close(found_P, merged(rows, Slerp(t=t)), rtol=1e-4, atol=1e-6)


@given(seed=seeds, count=st.integers(2, 7))
@quick
def test_multi_slerp_is_as_long_as_the_updates_on_average_and_balances_the_angles(seed: int, count: int) -> None:
    rows = [row_P * (k + 1) for k, row_P in enumerate(updates(count, seed=seed, common=0.5))]
    weights = random_weights(count, seed)
    found_P = merged(rows, MultiSlerp(steps=60), weights=weights).double()
    lengths = [float(row_P.double().norm()) for row_P in rows]
    expected = sum(w * length for w, length in zip(weights, lengths, strict=True)) / sum(weights)
    assert float(found_P.norm()) == pytest.approx(expected, rel=1e-5)
    middle_P = found_P / found_P.norm()
    pull_P = torch.zeros_like(middle_P)
    for row_P, weight, length in zip(rows, weights, lengths, strict=True):
        unit_P = row_P.double() / length
        cosine = float(torch.dot(unit_P, middle_P))
        tangent_P = unit_P - cosine * middle_P
        pull_P += weight / sum(weights) * math.acos(cosine) / float(tangent_P.norm()) * tangent_P
    assert float(pull_P.norm()) < 1e-4


def test_multi_slerp_of_one_direction_is_the_weighted_mean() -> None:
    (row_P,) = updates(1)
    found_P = merged([row_P, row_P * 3], MultiSlerp(), weights=[1.0, 1.0])
    torch.testing.assert_close(found_P, row_P * 2)


def test_multi_slerp_of_opposites_falls_back_to_the_mean_and_what_is_absent_has_no_direction() -> None:
    first_P, second_P = updates(2)
    torch.testing.assert_close(merged([first_P, -first_P], MultiSlerp()), torch.zeros_like(first_P))
    with_none_P = merged([first_P, second_P, torch.zeros_like(first_P)], MultiSlerp())
    torch.testing.assert_close(with_none_P, merged([first_P, second_P], MultiSlerp()) * (2 / 3))


# -- model stock -------------------------------------------------------------------------


@given(seed=seeds, count=st.integers(2, 6))
@quick
def test_model_stock_follows_identical_updates_all_the_way(seed: int, count: int) -> None:
    (row_P,) = updates(1, seed=seed)
    torch.testing.assert_close(merged([row_P] * count, ModelStock()), row_P, rtol=1e-6, atol=0)


@given(count=st.integers(2, 6), cosine=st.floats(0.0, 0.99))
@quick
def test_model_stock_goes_as_far_as_the_formula_says(count: int, cosine: float) -> None:
    """Updates with one angle between all pairs, made of a common direction and one of each's own."""
    common, own = math.sqrt(cosine), math.sqrt(1 - cosine)
    rows = []
    for k in range(count):
        row_P = torch.zeros(count + 1)
        row_P[0], row_P[k + 1] = common, own
        rows.append(row_P)
    t = count * cosine / (1 + (count - 1) * cosine)
    torch.testing.assert_close(merged(rows, ModelStock()), t * torch.stack(rows).mean(0), rtol=1e-5, atol=1e-7)


def test_model_stock_does_not_go_backwards_and_has_an_angle_for_each_tensor() -> None:
    (row_P,) = updates(1)
    other_P = torch.cat([-row_P[:100] * 0.5, row_P[100:]])
    found_P = merged([row_P, other_P], ModelStock(), layout=Layout((100, 200)))
    assert not bool(found_P[:100].any())
    torch.testing.assert_close(found_P[100:], row_P[100:])


# -- Fisher ------------------------------------------------------------------------------


def with_fishers(rows: Sequence[Tensor], fishers: Sequence[Tensor], weights: Sequence[float], rule: Fisher) -> Tensor:
    """Through the engine, in one tensor."""
    layout, rules = Layout((len(rows[0]),)), MergeRules(rule)
    plan = planned(rows, weights, rules, layout)
    pieces = [Piece(0, 0, len(rows[0]), 0)]
    return combine_segment(SegmentUpdates(list(rows), pieces, None, list(fishers)), plan, rules)


@given(seed=seeds, count=st.integers(1, 6), size=st.sampled_from([1e-24, 1e-9, 1.0, 1e6]))
@quick
def test_equal_fishers_make_a_mean(seed: int, count: int, size: float) -> None:
    rows, weights = updates(count, seed=seed), random_weights(count, seed)
    fisher_P = torch.rand(300, generator=draws(seed)) * size
    found_P = with_fishers(rows, [fisher_P] * count, weights, Fisher())
    torch.testing.assert_close(found_P, merged(rows, Mean(), weights=weights), rtol=1e-4, atol=1e-5)


def test_an_update_that_is_sure_has_its_elements_and_nobody_else_s() -> None:
    rows = updates(2, elements=4)
    fishers = [torch.tensor([1.0, 0.0, 0.0, 3.0]), torch.tensor([0.0, 2.0, 0.0, 1.0])]
    found_P = with_fishers(rows, fishers, [1.0, 1.0], Fisher())
    first, second = (row_P.tolist() for row_P in rows)
    expected = [first[0], second[1], (first[2] + second[2]) / 2, 0.75 * first[3] + 0.25 * second[3]]
    torch.testing.assert_close(found_P, torch.tensor(expected))


def test_a_fisher_below_epsilon_says_nothing() -> None:
    rows = [torch.tensor([1.0]), torch.tensor([3.0])]
    fishers = [torch.tensor([1e-4]), torch.tensor([0.0])]
    assert with_fishers(rows, fishers, [1.0, 1.0], Fisher()).tolist() == [1.0]
    assert with_fishers(rows, fishers, [1.0, 1.0], Fisher(epsilon=1e-3)).tolist() == [2.0]


def test_fishers_must_come_along() -> None:
    rules, rows = MergeRules(Fisher()), updates(2)
    plan = planned(rows, [1.0, 1.0], rules, Layout((300,)))
    with pytest.raises(MergeError, match="needs a Fisher with every update"):
        combine_segment(SegmentUpdates(rows, [Piece(0, 0, 300, 0)]), plan, rules)
    with pytest.raises(MergeError, match="1 Fishers came with 2 updates"):
        Fisher().combine_with_fisher(rows, rows[:1], torch.ones(2))


# -- RegMean -----------------------------------------------------------------------------


def matrices(count: int, seed: int, outputs: int = 5, inputs: int = 7) -> tuple[list[Tensor], list[Tensor]]:
    """Weight matrices and their inputs' Gram matrices."""
    generator = draws(seed)
    weights = list(torch.randn(count, outputs, inputs, generator=generator))
    seen = torch.randn(count, 40, inputs, generator=generator)
    return weights, [x.T @ x for x in seen]


@given(seed=seeds, count=st.integers(1, 5), alpha=st.floats(0, 1))
@quick
def test_equal_grams_make_a_mean(seed: int, count: int, alpha: float) -> None:
    deltas, grams = matrices(count, seed)
    weights_K = torch.tensor(random_weights(count, seed))
    found_OI = RegMean(alpha).combine_matrices(deltas, [grams[0]] * count, weights_K)
    expected_OI = (torch.stack(deltas) * weights_K[:, None, None]).sum(0) / weights_K.sum()
    torch.testing.assert_close(found_OI, expected_OI, rtol=1e-4, atol=1e-5)


@given(seed=seeds)
@quick
def test_one_dominant_gram_gives_that_model(seed: int) -> None:
    deltas, grams = matrices(3, seed)
    found_OI = RegMean(1.0).combine_matrices(deltas, [grams[0], grams[1] * 1e7, grams[2]], torch.ones(3))
    torch.testing.assert_close(found_OI, deltas[1], rtol=1e-3, atol=1e-3)


@given(seed=seeds)
@quick
def test_regmean_has_the_least_error_in_the_outputs(seed: int) -> None:
    """Of all linear layers; any step away from it is worse. With alpha 1 nothing is regularised."""
    deltas, grams = matrices(3, seed)
    best_OI = RegMean(1.0).combine_matrices(deltas, grams, torch.ones(3)).double()

    def error(candidate_OI: Tensor) -> float:
        apart = [(candidate_OI - delta.double(), gram.double()) for delta, gram in zip(deltas, grams, strict=True)]
        return sum(float(torch.trace(d @ gram @ d.T)) for d, gram in apart)

    least = error(best_OI)
    for step in range(5):
        away_OI = torch.randn(best_OI.shape, generator=draws(seed + step)).double() * 0.05
        assert error(best_OI + away_OI) > least


@given(seed=seeds, alpha=st.floats(0.05, 1))
@quick
def test_regmean_solves_its_equation(seed: int, alpha: float) -> None:
    """merged * sum H = sum x H, with H the Gram matrices whose other elements are multiplied by alpha."""
    deltas, grams = matrices(3, seed)
    scaled = [alpha * gram_II.double() + (1 - alpha) * gram_II.double().diagonal().diag() for gram_II in grams]
    found_OI = RegMean(alpha).combine_matrices(deltas, grams, torch.ones(3)).double()
    wanted_OI = torch.stack([delta.double() @ h for delta, h in zip(deltas, scaled, strict=True)]).sum(0)
    torch.testing.assert_close(found_OI @ torch.stack(scaled).sum(0), wanted_OI, rtol=1e-4, atol=1e-3)


def test_regmean_without_the_other_elements_weighs_every_input_by_itself() -> None:
    deltas, grams = matrices(2, 0)
    sizes = [gram_II.diagonal() for gram_II in grams]
    expected_OI = (deltas[0] * sizes[0] + deltas[1] * sizes[1]) / (sizes[0] + sizes[1])
    torch.testing.assert_close(RegMean(0.0).combine_matrices(deltas, grams, torch.ones(2)), expected_OI)


@given(seed=seeds, alpha=st.floats(0, 1))
@quick
def test_changes_and_weights_give_the_same_model(seed: int, alpha: float) -> None:
    deltas, grams = matrices(3, seed)
    base_OI = torch.randn(deltas[0].shape, generator=draws(seed + 1))
    of_changes = RegMean(alpha).combine_matrices(deltas, grams, torch.ones(3)) + base_OI
    of_weights = RegMean(alpha).combine_matrices([delta + base_OI for delta in deltas], grams, torch.ones(3))
    torch.testing.assert_close(of_changes, of_weights, rtol=1e-3, atol=1e-3)


def test_where_no_input_ever_went_regmean_is_the_mean() -> None:
    deltas, grams = matrices(2, 0)
    for gram_II in grams:
        gram_II[2], gram_II[:, 2] = 0.0, 0.0
    found_OI = RegMean().combine_matrices(deltas, grams, torch.ones(2))
    torch.testing.assert_close(found_OI[:, 2], (deltas[0] + deltas[1])[:, 2] / 2, rtol=1e-4, atol=1e-5)
    nothing = [torch.zeros_like(gram_II) for gram_II in grams]
    torch.testing.assert_close(
        RegMean().combine_matrices(deltas, nothing, torch.ones(2)), (deltas[0] + deltas[1]) / 2, rtol=1e-6, atol=1e-6
    )


def test_grams_that_are_none_are_refused() -> None:
    deltas, grams = matrices(2, 0)
    with pytest.raises(MergeError, match=r"expected 2 of \(7, 7\)"):
        RegMean().combine_matrices(deltas, grams[:1], torch.ones(2))
    with pytest.raises(MergeError, match="negative eigenvalues"):
        RegMean().combine_matrices(deltas, [-gram_II for gram_II in grams], torch.ones(2))


# -- options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ties", {"density": 0.0}, r"ties: density is 0.0, expected a share in \(0, 1\]"),
        ("ties", {"density": 1.1}, "a share in"),
        ("ties", {"elect": "weight"}, "expected 'mass' or 'count'"),
        ("ties", {"lambda": 1.0}, "ties has no option 'lambda'"),
        ("ties", {"scale": 0.0}, "expected a number above 0"),
        ("dare", {"density": 0.0}, "a share in"),
        ("dare", {"consensus": "median"}, "expected 'sum' or 'ties'"),
        ("della", {"density": 0.9, "epsilon": 0.3}, "density 0.9 .* lies in"),
        ("della", {"density": 0.1, "epsilon": 0.3}, "density 0.1 .* lies in"),
        ("breadcrumbs", {"density": 0.9, "gamma": 0.2}, "which is 1 - density"),
        ("task-arithmetic", {"divisor": "models"}, "expected 'weights' or 'none'"),
        ("slerp", {"t": 1.5}, r"expected a number in \[0, 1\]"),
        ("multi-slerp", {"steps": 0.5}, "a whole number"),
        ("regmean", {"alpha": -0.1}, r"expected a number in \[0, 1\]"),
        ("fisher", {"epsilon": 0.0}, r"expected a number in \[1e-35, 1\]"),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: Mapping[str, Option], message: str) -> None:
    with pytest.raises(UnknownStrategyError, match=message):
        make_strategy(name, options)
