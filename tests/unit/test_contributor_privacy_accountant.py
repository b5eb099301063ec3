"""What noise costs, against what others have published and computed, and laws that any account must keep."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contributor.privacy.accountant import ORDERS, Spent, divergences, epsilon_of, noise_for

rates = st.floats(1e-4, 0.2)
noises = st.floats(0.5, 20)


@pytest.mark.parametrize(
    ("rate", "noise", "steps", "delta", "renyi", "exact"),
    [
        # dp-accounting 0.6.0: its RdpAccountant, which also has fractional orders, and its PLDAccountant, nearly exact.
        (256 / 60_000, 1.1, 14_062, 1e-5, 2.5965, 2.3817),
        (0.01, 4.0, 10_000, 1e-5, 1.0355, 0.9470),
        (0.01, 1.0, 1_000, 1e-5, 2.1014, 1.8282),
        (1.0, 5.0, 10, 1e-6, 3.1311, 2.9216),
        (0.1, 2.0, 500, 1e-6, 6.6793, 6.2167),
    ],
)
def test_the_account_is_that_of_others_and_never_below_what_is_exact(
    rate: float, noise: float, steps: int, delta: float, renyi: float, exact: float
) -> None:
    found = epsilon_of([Spent(rate, noise, steps)], delta)
    assert found > exact
    assert found == pytest.approx(renyi, rel=0.005)


@pytest.mark.parametrize(
    ("rate", "noise", "steps", "published"),
    [
        (0.01, 4.0, 10_000, 1.26),  # Abadi et al. 2016, section 3.2: epsilon 1.26 at delta 1e-5, by their accountant
        (256 / 60_000, 1.1, 60 * 60_000 // 256, 3.0),  # tutorials of TensorFlow Privacy: 3.0 for these
    ],
)
def test_with_the_older_conversion_it_is_what_papers_have(
    rate: float, noise: float, steps: int, published: float
) -> None:
    costs = zip(ORDERS, divergences(rate, noise), strict=True)
    older = min(steps * cost + math.log(1e5) / (order - 1) for order, cost in costs)
    assert older == pytest.approx(published, abs=0.015)


def test_without_sampling_it_is_the_gaussian_mechanism() -> None:
    assert divergences(1.0, 2.0)[:3] == (2 / 8, 3 / 8, 4 / 8)


@settings(max_examples=40, deadline=None)
@given(rate=rates, noise=noises, steps=st.integers(1, 5000), delta=st.sampled_from([1e-7, 1e-5, 1e-3]))
def test_more_steps_more_sampling_and_less_noise_cost_more(rate: float, noise: float, steps: int, delta: float) -> None:
    cost = epsilon_of([Spent(rate, noise, steps)], delta)
    assert cost >= 0
    assert epsilon_of([Spent(rate, noise, 2 * steps)], delta) >= cost
    assert epsilon_of([Spent(2 * rate, noise, steps)], delta) >= cost - 1e-9
    assert epsilon_of([Spent(rate, noise * 1.5, steps)], delta) <= cost + 1e-9
    assert epsilon_of([Spent(rate, noise, steps)], delta / 10) >= cost


@settings(max_examples=30, deadline=None)
@given(rate=rates, noise=noises, parts=st.lists(st.integers(0, 300), min_size=1, max_size=6))
def test_parts_cost_what_the_whole_costs_in_any_order(rate: float, noise: float, parts: list[int]) -> None:
    whole = epsilon_of([Spent(rate, noise, sum(parts))], 1e-5)
    assert epsilon_of([Spent(rate, noise, steps) for steps in parts], 1e-5) == pytest.approx(whole, rel=1e-9)
    assert epsilon_of([Spent(rate, noise, steps) for steps in reversed(parts)], 1e-5) == pytest.approx(whole, rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(rate=rates, steps=st.integers(1, 3000), epsilon=st.floats(0.3, 20))
def test_the_noise_that_is_found_is_enough_and_hardly_more(rate: float, steps: int, epsilon: float) -> None:
    noise = noise_for(epsilon, 1e-5, rate, steps)
    assert epsilon_of([Spent(rate, noise, steps)], 1e-5) <= epsilon
    if noise > 0.2:
        assert epsilon_of([Spent(rate, noise / 1.01, steps)], 1e-5) > epsilon


def test_nothing_spent_costs_nothing_and_a_spent_epsilon_leaves_nothing() -> None:
    assert epsilon_of([], 1e-5) == 0.0
    assert epsilon_of([Spent(0.1, 1.0, 0)], 1e-5) == 0.0
    with pytest.raises(ValueError, match="leaves nothing for 10 more steps"):
        noise_for(1.0, 1e-5, 0.01, 10, [Spent(0.5, 0.5, 100)])


@pytest.mark.parametrize(("rate", "noise"), [(0.0, 1.0), (1.1, 1.0), (0.5, 0.0)])
def test_what_cannot_be_accounted_for_is_an_error(rate: float, noise: float) -> None:
    with pytest.raises(ValueError, match="cannot be accounted for"):
        Spent(rate, noise, 1)
