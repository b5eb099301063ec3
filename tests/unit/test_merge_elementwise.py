"""Rows combined element by element: the loops, plain torch and a reference in numpy agree to the bit."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise import native
from merge.elementwise import median, near_median_mean, trimmed_mean, weighted_sum

SPECIAL = [0.0, -0.0, 1e-45, -1e-45, 1e-40, -2e-39, 1.0, -1.0, 1e30, -1e30]
FLOATS = (torch.float32, torch.bfloat16, torch.float16)

shapes = st.tuples(st.integers(1, 40), st.integers(1, 10_000), st.integers(0, 2**31))


def sample(shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """K rows of P: ordinary values, ties, and one in five of the special ones; every row starts somewhere odd."""
    count, size, seed = shape
    draws = np.random.default_rng(seed)
    values = draws.standard_normal((count, size + count)).astype(np.float32)
    values = np.where(draws.random(values.shape) < 0.2, np.round(values), values)
    values = np.where(draws.random(values.shape) < 0.2, draws.choice(SPECIAL, values.shape), values)
    if dtype == torch.float16:
        values = np.clip(values, -6e4, 6e4)
    return [torch.from_numpy(row.astype(np.float32)).to(dtype)[n : n + size] for n, row in enumerate(values)]


def bits(values: Tensor) -> Tensor:
    return values.view(torch.int32)


def agree(function: Callable[[], Tensor], expected: np.ndarray | None = None) -> None:
    """The loops and plain torch give the same bits, and those of the reference if there is one."""
    found = function()
    with native.disabled():
        plain = function()
    assert torch.equal(bits(found), bits(plain))
    if expected is not None:
        assert torch.equal(bits(found), bits(torch.from_numpy(expected)))


def reference_sum(rows: list[Tensor], factors: Tensor) -> np.ndarray:
    total = None
    for row, factor in zip(rows, factors.numpy(), strict=True):
        if factor != 0:
            scaled = row.float().numpy() * factor
            total = scaled if total is None else total + scaled
    return np.zeros(len(rows[0]), np.float32) if total is None else total


def reference_mean(kept: np.ndarray) -> np.ndarray:
    """Of values [N, P] that are in ascending order: added in that order, divided by their number."""
    total = kept[0]
    for row in kept[1:]:
        total = total + row
    return (total / np.float32(len(kept)) + np.float32(0)).astype(np.float32)


def ordered(rows: list[Tensor]) -> np.ndarray:
    return np.sort(np.stack([row.float().numpy() for row in rows]), axis=0)


def reference_near(rows: list[Tensor], keep: int) -> np.ndarray:
    """One column at a time: order by distance, below before above, inner before outer; keep the first."""
    values = ordered(rows)
    middle = reference_mean(values[(len(values) - 1) // 2 : len(values) // 2 + 1])
    columns = []
    for column, centre in zip(values.T, middle, strict=True):
        nearest = sorted(column, key=lambda v, m=centre: (abs(v - m), v > m, v if v > m else -v))[:keep]
        columns.append(sorted(nearest))
    return reference_mean(np.array(columns, np.float32).T)


@given(shapes, st.sampled_from(FLOATS))
@settings(deadline=None, max_examples=60)
def test_a_weighted_sum_is_a_multiply_and_an_add_for_each_row(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    rows = sample(shape, dtype)
    draws = np.random.default_rng(shape[2])
    factors = torch.from_numpy((draws.standard_normal(len(rows)) * (draws.random(len(rows)) > 0.3)).astype(np.float32))
    agree(lambda: weighted_sum(rows, factors), reference_sum(rows, factors))


@given(shapes, st.sampled_from(FLOATS), st.floats(0, 0.499))
@settings(deadline=None, max_examples=60)
def test_a_trimmed_mean_adds_what_is_kept_in_ascending_order(
    shape: tuple[int, int, int], dtype: torch.dtype, trim: float
) -> None:
    rows = sample(shape, dtype)
    drop = int(trim * len(rows))
    agree(lambda: trimmed_mean(rows, drop), reference_mean(ordered(rows)[drop : len(rows) - drop]))


@given(shapes, st.sampled_from(FLOATS))
@settings(deadline=None, max_examples=60)
def test_the_median_is_the_middle_or_half_the_sum_of_the_two_in_the_middle(
    shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    rows = sample(shape, dtype)
    values, half = ordered(rows), len(rows) // 2
    two = values[half] if len(rows) % 2 else (values[half - 1] + values[half]) / np.float32(2)
    agree(lambda: median(rows), two + np.float32(0))


@given(st.tuples(st.integers(1, 40), st.integers(1, 300), st.integers(0, 2**31)), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_what_is_nearest_the_median_is_found_as_by_sorting_distances(shape: tuple[int, int, int], share: float) -> None:
    rows = sample(shape)
    keep = 1 + int(share * (len(rows) - 1))
    agree(lambda: near_median_mean(rows, keep), reference_near(rows, keep))


@given(shapes, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_sorted_rules_do_not_depend_on_the_order_of_the_rows(shape: tuple[int, int, int], random: Random) -> None:
    rows = sample(shape)
    shuffled = list(rows)
    random.shuffle(shuffled)
    keep = max(1, len(rows) // 2)
    assert torch.equal(bits(median(rows)), bits(median(shuffled)))
    assert torch.equal(
        bits(trimmed_mean(rows, (len(rows) - 1) // 3)), bits(trimmed_mean(shuffled, (len(rows) - 1) // 3))
    )
    assert torch.equal(bits(near_median_mean(rows, keep)), bits(near_median_mean(shuffled, keep)))


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_the_number_of_threads_does_not_matter(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    rows = sample((9, 70_001, 0))
    factors = torch.linspace(0.1, 1, 9)
    cases = [
        lambda: weighted_sum(rows, factors),
        lambda: median(rows),
        lambda: trimmed_mean(rows, 2),
        lambda: near_median_mean(rows, 4),
    ]
    with native.disabled():
        expected = [case() for case in cases]
    monkeypatch.setattr(native, "threads", lambda: workers)
    for case, wanted in zip(cases, expected, strict=True):
        assert torch.equal(bits(case()), bits(wanted))


@pytest.mark.parametrize("count", [*range(1, 18), 31, 32, 33, 64, 100])
def test_every_number_of_rows_has_its_own_network(count: int) -> None:
    rows = sample((count, 300, count))
    agree(lambda: median(rows))
    agree(lambda: trimmed_mean(rows, 0), reference_mean(ordered(rows)))


def test_every_half_precision_value_converts_exactly() -> None:
    every = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)
    for dtype in (torch.float16, torch.bfloat16):
        values = every.view(dtype)
        values = values[~values.isnan()]
        found = weighted_sum([values], torch.ones(1))
        assert torch.equal(bits(found), bits(values.to(torch.float32)))


def test_one_row_at_factor_one_comes_back_exactly() -> None:
    row = torch.tensor(SPECIAL)
    assert torch.equal(bits(weighted_sum([row], torch.ones(1))), bits(row))


def test_a_row_with_factor_zero_is_not_even_read() -> None:
    rows = [torch.tensor([-0.0, 1.0]), torch.tensor([float("nan"), float("inf")])]
    agree(lambda: weighted_sum(rows, torch.tensor([1.0, 0.0])), np.array([-0.0, 1.0], np.float32))
    agree(lambda: weighted_sum(rows, torch.tensor([0.0, -0.0])), np.array([0.0, 0.0], np.float32))


def test_large_values_overflow_alike() -> None:
    rows = [torch.tensor([3e38, -3e38, 3e38]), torch.tensor([3e38, -3e38, -3e38])]
    infinite = np.array([np.inf, -np.inf, 0.0], np.float32)
    agree(lambda: weighted_sum(rows, torch.ones(2)), infinite)
    agree(lambda: median(rows), infinite)
    agree(lambda: near_median_mean(rows, 2), infinite)


def test_zeros_of_either_sign_give_zero() -> None:
    rows = [torch.tensor([0.0]), torch.tensor([-0.0]), torch.tensor([-0.0]), torch.tensor([0.0])]
    for order in (rows, rows[::-1], rows[1:3]):
        for rule in (median, lambda r: trimmed_mean(r, 0), lambda r: near_median_mean(r, 1)):
            assert torch.equal(bits(rule(order)), bits(torch.zeros(1)))


def test_of_two_equally_near_values_the_lower_stays() -> None:
    rows = [torch.tensor([value]) for value in (1.0, 2.0, 3.0)]
    assert near_median_mean(rows, 2).tolist() == [1.5]
    assert near_median_mean(rows[:2], 1).tolist() == [1.0]


def test_the_output_is_written_where_it_is_wanted() -> None:
    rows = sample((4, 1000, 1))
    room = torch.full((1001,), 7.0)
    for rule in (
        median,
        lambda r, out: weighted_sum(r, torch.ones(4), out),
        lambda r, out: near_median_mean(r, 2, out),
    ):
        out = room[1:] if rule is not median else room[:1000]
        assert rule(rows, out=out) is out
    strided = torch.zeros(2000)[::2]
    assert torch.equal(median(rows, out=strided), median(rows))


def test_rows_that_are_not_contiguous_take_the_plain_path() -> None:
    table = torch.stack(sample((5, 1000, 2)), dim=1)
    columns = list(table.unbind(dim=1))
    assert torch.equal(bits(median(columns)), bits(median([column.contiguous() for column in columns])))


@pytest.mark.parametrize(
    "call",
    [
        lambda: median([]),
        lambda: median([torch.zeros(2), torch.zeros(3)]),
        lambda: median([torch.zeros(2), torch.zeros(2, dtype=torch.float64)]),
        lambda: median([torch.zeros(2, 2)]),
        lambda: median([torch.zeros(2)], out=torch.zeros(3)),
        lambda: median([torch.zeros(2)], out=torch.zeros(2, dtype=torch.float64)),
        lambda: trimmed_mean([torch.zeros(2)] * 4, 2),
        lambda: trimmed_mean([torch.zeros(2)] * 4, -1),
        lambda: near_median_mean([torch.zeros(2)] * 4, 5),
        lambda: near_median_mean([torch.zeros(2)] * 4, 0),
    ],
)
def test_what_does_not_fit_together_is_refused(call: Callable[[], Tensor]) -> None:
    with pytest.raises(RuntimeError, match=r"expected|cannot|no rows"):
        call()


def test_nothing_to_combine_is_nothing() -> None:
    assert median([torch.zeros(0), torch.zeros(0)]).shape == (0,)
