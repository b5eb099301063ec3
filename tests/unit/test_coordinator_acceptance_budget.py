from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.acceptance.statistics.budget import within_budget

costs = st.floats(0, 1e12)


@pytest.mark.parametrize(
    ("candidate", "limit", "ratio", "passed", "most"),
    [
        (1.0, None, None, True, math.inf),
        (2.0, 2.0, None, True, 2.0),
        (2.1, 2.0, None, False, 2.0),
        (1.1, None, 0.25, True, 1.25),
        (1.3, None, 0.25, False, 1.25),
        (1.3, 1.4, 0.25, False, 1.25),
        (1.2, 1.1, 0.25, False, 1.1),
        (math.nan, None, None, False, math.inf),
        (math.nan, 1.0, None, False, 1.0),
    ],
)
def test_the_tighter_of_both_bounds_counts(
    candidate: float, limit: float | None, ratio: float | None, passed: bool, most: float
) -> None:
    found = within_budget(1.0, candidate, limit, ratio)
    assert (found.passed, found.most) == (passed, most)


def test_the_reason_names_both_costs_and_the_bound_that_counts() -> None:
    assert within_budget(0.2, 0.3, 1.0, 0.25, "s").reason == (
        "0.2 -> 0.3 s (1.5 times its base); over budget: 25% above its base is 0.25"
    )
    assert within_budget(0.0, 5.0, 8.0, None, "bytes").reason == "0 -> 5 bytes; within budget: the limit is 8"


@given(costs, costs, costs, st.floats(0, 10))
def test_costing_less_never_fails_what_passed(base: float, candidate: float, limit: float, ratio: float) -> None:
    if within_budget(base, candidate, limit, ratio).passed:
        assert within_budget(base, candidate / 2, limit, ratio).passed
        assert candidate <= limit
    assert within_budget(base, 0.0, limit, ratio).passed
