"""Budgets of hidden examples, and what goes out of a score."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.acceptance.hidden.draws import draw
from coordinator.acceptance.hidden.feedback import (
    Ladder,
    answers_of,
    ladder,
    ladder_step,
    resolution,
    rounded,
    rounded_summary,
    told,
)
from coordinator.acceptance.hidden.uses import Leak, drawable, expected_bias, uses_allowed, uses_of

STEPS = st.builds(lambda digit, power: float(f"{digit}e{power}"), st.sampled_from([1, 2, 5]), st.integers(-6, 2))

# Budgets.


@given(pool=st.integers(1, 60), wanted=st.integers(1, 60), budget=st.integers(1, 5), seed=st.integers(0, 99))
def test_no_example_is_ever_used_beyond_its_budget(pool: int, wanted: int, budget: int, seed: int) -> None:
    """A test draws until its pool says no: every use is within the budget, and what was promised was there."""
    uses, draws, promised = Counter[int](), [], None
    while (left := drawable(uses, pool, wanted, budget)).enough:
        if promised is None:
            promised = left.rounds_left
        drawn = draw(bytes(31) + bytes([seed]), f"pool {len(draws)}", "loss", left.places, wanted)
        draws.append((drawn, 1))
        uses = uses_of(draws)
        assert max(uses.values()) <= budget
    assert left.rounds_left == 0
    assert "rotate it" in left.reason
    assert f"{len(left.places)} of {pool} examples" in left.reason
    assert len(draws) <= (promised or 0)
    assert sum(uses.values()) == wanted * len(draws)


def test_every_answer_is_a_use() -> None:
    assert uses_of([((1, 2), 1), ((2, 3), 5)]) == Counter({1: 1, 2: 6, 3: 5})
    assert drawable(uses_of([((0, 1), 4)]), 4, 2, 4).places == (2, 3)


LEAKS = st.builds(
    Leak,
    pool=st.integers(10, 10_000),
    drawn=st.integers(1, 10),
    spread=st.floats(0.01, 1.0),
    answers=st.integers(2, 50),
)


@given(leak=LEAKS, error=st.floats(0.001, 0.5))
def test_the_default_budget_is_the_most_that_the_bound_allows(leak: Leak, error: float) -> None:
    uses = uses_allowed(leak, error)
    assert uses >= 1
    if uses > 1:
        assert expected_bias(leak, uses) <= error * (1 + 1e-9)
    assert expected_bias(leak, uses + 1) > error * (1 - 1e-9)


def test_the_budget_grows_with_the_pool_and_the_error_and_falls_with_what_goes_out() -> None:
    leak = Leak(pool=4_000, drawn=48, spread=0.15, answers=2)
    assert uses_allowed(leak, 0.02) == 35  # 4,000 * (0.02 / 0.15)^2 / 2 = 35.6
    assert uses_allowed(leak, 0.04) == 142
    assert uses_allowed(Leak(8_000, 48, 0.15, 2), 0.02) == 71
    assert uses_allowed(Leak(4_000, 48, 0.15, 14), 0.02) == 2


# Rounding.


@given(value=st.floats(-100, 100), step=STEPS)
def test_what_is_shown_is_a_multiple_of_the_step_and_near(value: float, step: float) -> None:
    shown = rounded(value, step)
    assert abs(shown - value) <= step / 2 * (1 + 1e-6) + 1e-12
    assert shown / step == pytest.approx(round(shown / step), abs=1e-6)
    assert rounded(shown, step) == shown
    assert str(shown) != "-0.0"


@given(spread=st.floats(1e-3, 10), examples=st.integers(1, 100_000))
def test_the_resolution_is_the_standard_error_or_the_next_round_number(spread: float, examples: int) -> None:
    step, error = resolution(spread, examples), spread / math.sqrt(examples)
    assert error * (1 - 1e-9) <= step <= 2.5 * error * (1 + 1e-9)
    assert f"{step:.0e}"[0] in "125"


def test_words_have_no_digits_beyond_the_step() -> None:
    assert told(-0.04321, 0.02, "bits/byte") == "-0.04 bits/byte (to 0.02)"
    assert told(0.0001, 0.02, "bits/byte") == "+0.00 bits/byte (to 0.02)"
    assert told(12.4, 5, "points") == "+10 points (to 5)"
    assert math.isnan(rounded(math.nan, 0.1))


def test_a_row_goes_out_without_digits_that_tell_examples_apart() -> None:
    row = {"effect": 0.01234, "mean": 3.3456, "p": 0.0234, "p_holm": 0.3, "n": 48, "passed": True, "unit": "bits/byte"}
    expected = {"effect": 0.02, "mean": 3.34, "p": 0.05, "p_holm": 1.0, "n": 48, "passed": True, "unit": "bits/byte"}
    assert rounded_summary(row, 0.02) == expected
    assert answers_of(0.12, 0.02) == 14


# The ladder.


@given(losses=st.lists(st.floats(0, 1), min_size=1, max_size=60), step=st.sampled_from([0.01, 0.05, 0.2]))
def test_the_ladder_only_goes_down_by_more_than_half_a_step_and_stays_near_the_best(
    losses: list[float], step: float
) -> None:
    at, shown = Ladder(), []
    for loss in losses:
        at = ladder(at, loss, step)
        assert at.shown is not None
        shown.append(at.shown)
    assert all(after <= before - step / 2 or after == before for before, after in pairwise(shown))
    assert shown[-1] <= min(losses) + step * 1.5
    assert shown[-1] >= min(losses) - step / 2 - 1e-12
    assert len(set(shown)) <= 1 / step + 3  # few different answers: that is why little leaks


def test_the_ladder_says_why_it_stays() -> None:
    first = ladder(Ladder(), 0.512, 0.02)
    assert (first.shown, first.moved) == (0.52, True)
    after = ladder(first, 0.505, 0.02)
    assert (after.shown, after.moved) == (first.shown, False)
    assert "not better than" in after.reason


def test_the_ladders_own_step_shrinks_with_the_cube_root() -> None:
    assert ladder_step(4_000, 1_000) == 0.2  # (log(4,000,000) / 4,000)^(1/3) = 0.156
    assert ladder_step(1_000_000, 1_000) == 0.05
    assert ladder_step(4_000, 1_000, spread=0.05) == pytest.approx(0.02)
