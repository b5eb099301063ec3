from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from merge.exact import square_sum, tree_sum


@given(st.lists(st.floats(-1e6, 1e6), max_size=70))
@settings(deadline=None)
def test_a_tree_sum_is_close_to_the_exact_sum(values: list[float]) -> None:
    total = float(tree_sum(torch.tensor(values, dtype=torch.float64)))
    assert total == pytest.approx(math.fsum(values), rel=1e-9, abs=1e-6)


def test_the_order_of_additions_is_the_documented_one() -> None:
    values = torch.tensor([1e16, 1.0, -1e16, 1.0, 3.0], dtype=torch.float64)
    first = ((1e16 + 3.0) + -1e16) + ((1.0 + 0.0) + (1.0 + 0.0))
    assert float(tree_sum(values)) == first


def test_rows_are_summed_on_their_own() -> None:
    rows = torch.randn(3, 4, 37, generator=torch.Generator().manual_seed(1))
    sums = tree_sum(rows)
    assert sums.shape == (3, 4)
    assert sums.dtype == torch.float64
    assert all(torch.equal(sums[i, j], tree_sum(rows[i, j])) for i in range(3) for j in range(4))


def test_nothing_sums_to_zero() -> None:
    assert float(tree_sum(torch.zeros(0))) == 0.0
    assert square_sum(torch.zeros(0)) == 0.0


def test_squares_do_not_overflow_float32() -> None:
    assert square_sum(torch.full((3,), 2.0**100)) == 3 * 2.0**200


def test_squares_are_summed_over_several_blocks() -> None:
    assert square_sum(torch.ones((1 << 20) + 5)) == (1 << 20) + 5
