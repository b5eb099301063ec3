from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merge.clip import clip_factors, median_norm

norms = st.lists(st.just(0.0) | st.floats(1e-45, 1e30), max_size=20)  # those that float32 changes can have


def test_the_long_one_is_cut_to_the_limit() -> None:
    assert clip_factors([1.0, 2.0, 3.0, 40.0, 2.0], 2.0) == [1.0, 1.0, 1.0, 0.1, 1.0]


def test_of_two_middle_norms_the_lower_counts() -> None:
    assert clip_factors([1.0, 10.0], 2.0) == [1.0, 0.2]


def test_updates_that_change_nothing_have_no_say() -> None:
    assert clip_factors([0.0, 0.0, 0.0, 4.0, 4.0], 1.0) == [1.0] * 5
    assert clip_factors([0.0, 0.0], 1.0) == [1.0, 1.0]
    assert clip_factors([], 1.0) == []


def test_the_usual_norm_is_the_lower_median_of_those_that_move() -> None:
    assert median_norm([0.0, 3.0, 0.0, 1.0, 2.0]) == 2.0
    assert median_norm([5.0, 1.0]) == 1.0
    assert median_norm([0.0, 0.0]) == 0.0
    assert median_norm([]) == 0.0


@given(norms, st.floats(0.5, 10))
@settings(deadline=None)
def test_nothing_grows_and_nothing_stays_above_the_limit(lengths: list[float], limit: float) -> None:
    factors = clip_factors(lengths, limit)
    moving = sorted(norm for norm in lengths if norm > 0)
    assert all(0 < factor <= 1 for factor in factors)
    if moving:
        longest = limit * moving[(len(moving) - 1) // 2]
        assert all(norm * factor <= longest * (1 + 1e-12) for norm, factor in zip(lengths, factors, strict=True))


@given(norms, st.randoms())
@settings(deadline=None)
def test_the_order_of_updates_does_not_matter(lengths: list[float], shuffler: random.Random) -> None:
    order = sorted(range(len(lengths)), key=lambda _: shuffler.random())
    factors = clip_factors(lengths, 2.0)
    assert clip_factors([lengths[i] for i in order], 2.0) == [factors[i] for i in order]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_a_norm_that_cannot_be_is_our_own_mistake(bad: float) -> None:
    with pytest.raises(AssertionError):
        clip_factors([1.0, bad], 2.0)
