"""Inner products in one fixed order: the loops, plain torch and a reference in numpy agree to the bit."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise import native
from barnraise.native import dense
from merge.gram import gram, square_sums

shapes = st.tuples(st.integers(1, 20), st.integers(0, 10_000), st.integers(0, 2**31))


def sample(shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """K rows of P of very different sizes, with zeros and subnormal numbers; every row starts somewhere odd."""
    count, size, seed = shape
    draws = np.random.default_rng(seed)
    values = draws.standard_normal((count, size + count)) * 10.0 ** draws.integers(-3, 4, (count, 1))
    values = np.where(draws.random(values.shape) < 0.1, draws.choice([0.0, -0.0, 1e-45, 3e38], values.shape), values)
    if dtype == torch.float16:
        values = np.clip(values, -6e4, 6e4)
    return [torch.from_numpy(row.astype(np.float32)).to(dtype)[n : n + size] for n, row in enumerate(values)]


def reference(first: Tensor, second: Tensor) -> float:
    """Blocks of 4,096 in order; within one, sixteen lanes of which each adds in order, then halves."""
    products = first.double().numpy() * second.double().numpy()
    total = 0.0
    for start in range(0, len(products), 4096):
        lanes = np.zeros(16)
        block = products[start : start + 4096]
        for at in range(0, len(block), 16):
            terms = block[at : at + 16]
            lanes[: len(terms)] += terms
        while len(lanes) > 1:
            lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
        total += float(lanes[0])
    return total


@given(shapes, st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
@settings(deadline=None, max_examples=40)
def test_every_pair_is_summed_in_the_stated_order(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    rows = sample(shape, dtype)
    found = gram(rows)
    with native.disabled():
        assert torch.equal(found, gram(rows))
    last = len(rows) - 1
    for i, j in {(0, 0), (0, last), (last // 2, last), (last, last)}:
        assert float(found[i, j]) == reference(rows[i], rows[j]) == float(found[j, i])


@given(shapes)
@settings(deadline=None, max_examples=40)
def test_sums_of_squares_are_the_diagonal(shape: tuple[int, int, int]) -> None:
    rows = sample(shape)
    expected = gram(rows).diagonal()
    assert torch.equal(square_sums(rows), expected)
    with native.disabled():
        assert torch.equal(square_sums(rows), expected)


@given(shapes, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_the_order_of_the_rows_only_moves_the_entries(shape: tuple[int, int, int], random: Random) -> None:
    rows = sample(shape)
    order = list(range(len(rows)))
    random.shuffle(order)
    assert torch.equal(gram([rows[n] for n in order]), gram(rows)[order][:, order])


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("scratch_bytes", [1, 1 << 12, 8 << 20])
def test_neither_threads_nor_how_many_blocks_wait_matter(
    monkeypatch: pytest.MonkeyPatch, workers: int, scratch_bytes: int
) -> None:
    rows = sample((5, 200_003, 3))
    with native.disabled():
        expected = gram(rows), square_sums(rows)
    monkeypatch.setattr(native, "threads", lambda: workers)
    monkeypatch.setattr(dense, "threads", lambda: workers)
    monkeypatch.setattr(dense, "SCRATCH_BYTES", scratch_bytes)
    assert torch.equal(gram(rows), expected[0])
    assert torch.equal(square_sums(rows), expected[1])


@pytest.mark.parametrize("scratch", [1, 1 << 16, 1 << 22])
def test_plain_torch_may_take_any_number_of_blocks_at_once(monkeypatch: pytest.MonkeyPatch, scratch: int) -> None:
    rows = sample((3, 50_001, 4))
    expected = gram(rows)
    monkeypatch.setattr("merge.gram.SCRATCH", scratch)
    with native.disabled():
        assert torch.equal(gram(rows), expected)


def test_it_is_as_good_as_exact() -> None:
    rows = sample((2, 3000, 5))
    exact = sum(Fraction(a) * Fraction(b) for a, b in zip(rows[0].tolist(), rows[1].tolist(), strict=True))
    scale = sum(abs(Fraction(a) * Fraction(b)) for a, b in zip(rows[0].tolist(), rows[1].tolist(), strict=True))
    assert abs(Fraction(float(gram(rows)[0, 1])) - exact) < scale * Fraction(1, 10**14)


def test_one_element_and_none() -> None:
    assert gram([torch.tensor([3.0]), torch.tensor([-2.0])]).tolist() == [[9.0, -6.0], [-6.0, 4.0]]
    assert gram([torch.zeros(0)] * 2).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_rows_that_are_not_contiguous_take_the_plain_path() -> None:
    table = torch.stack(sample((4, 5000, 6)), dim=1)
    columns = list(table.unbind(dim=1))
    assert torch.equal(gram(columns), gram([column.contiguous() for column in columns]))


@pytest.mark.parametrize("rows", [[], [torch.zeros(2), torch.zeros(3)], [torch.zeros(2, 2)], [torch.zeros(2).int()]])
def test_what_does_not_fit_together_is_refused(rows: list[Tensor]) -> None:
    with pytest.raises(RuntimeError, match=r"expected|no rows"):
        gram(rows)
    with pytest.raises(RuntimeError, match=r"expected|no rows"):
        square_sums(rows)
