from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from merge.exact import LANES, add_in_order, lane_sums, square_sum, tree_sum


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


def test_lanes_are_added_by_halving() -> None:
    lanes = torch.tensor([1e16, 1.0] + [0.0] * (LANES - 4) + [-1e16, 1.0], dtype=torch.float64)
    work = lanes.tolist()
    while len(work) > 1:
        work = [a + b for a, b in zip(work[: len(work) // 2], work[len(work) // 2 :], strict=True)]
    assert float(lane_sums(lanes)) == work[0]
    assert lane_sums(lanes.expand(2, 3, LANES)).tolist() == [[work[0]] * 3] * 2


def test_blocks_are_added_first_to_last() -> None:
    total = torch.zeros(2, dtype=torch.float64)
    add_in_order(total, torch.tensor([[1.0, 1e16], [1e16, 1.0], [-1e16, -1e16]], dtype=torch.float64))
    assert total.tolist() == [(1.0 + 1e16) - 1e16, (1e16 + 1.0) - 1e16]
