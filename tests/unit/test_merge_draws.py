"""Numbers drawn by lot: anybody draws the same, and they behave like lots."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise import native
from merge.draws import Draws

CPU = torch.device("cpu")
SIZE = 1 << 18
quick = settings(deadline=None, max_examples=30)
places = st.integers(0, 5000) | st.integers((1 << 32) - 2000, (1 << 32) + 2000) | st.integers(0, 1 << 45)


def drawn(seed: int, update: int = 0, start: int = 0, size: int = SIZE) -> Tensor:
    return Draws(seed, update, start).uniform(size, CPU)


def correlation(left_P: Tensor, right_P: Tensor) -> float:
    """In standard deviations of what independent draws would show."""
    return abs(float(np.corrcoef(left_P.numpy(), right_P.numpy())[0, 1])) * len(left_P) ** 0.5


@given(seed=st.integers(-(2**70), 2**70), update=st.integers(0, 300), start=places, cut=st.integers(0, 1500))
@quick
def test_a_number_depends_on_its_place_only(seed: int, update: int, start: int, cut: int) -> None:
    whole_P = drawn(seed, update, start, 1500)
    parts = [drawn(seed, update, start, cut), drawn(seed, update, start + cut, 1500 - cut)]
    assert torch.equal(torch.cat(parts), whole_P)


@given(seed=st.integers(-(2**70), 2**70), update=st.integers(0, 300), start=places, size=st.integers(0, 1500))
@quick
def test_the_compiled_loop_draws_the_same(seed: int, update: int, start: int, size: int) -> None:
    found_P = drawn(seed, update, start, size)
    with native.disabled():
        assert torch.equal(drawn(seed, update, start, size), found_P)


def test_the_definition_has_not_changed() -> None:
    """Releases are recomputed years later: these numbers are a promise."""
    assert (drawn(7, 3, 11, 4) * (1 << 24)).to(torch.int64).tolist() == [5866004, 10371041, 8195378, 13057493]
    assert (drawn(7, 3, (1 << 32) - 2, 4) * (1 << 24)).to(torch.int64).tolist() == [929302, 10331400, 3409796, 7010518]


@pytest.mark.parametrize("start", [0, 123_456_789, (1 << 32) - SIZE // 2])
@pytest.mark.parametrize("seed", [0, 1, 2**31])
def test_they_are_uniform(seed: int, start: int) -> None:
    """Chi-squared over 256 bins: 255 on average with deviation 22.6; five deviations are allowed, both ways."""
    found_P = drawn(seed, start=start)
    assert float(found_P.min()) >= 0.0
    assert float(found_P.max()) < 1.0
    counts = torch.histc(found_P, 256, 0.0, 1.0)
    expected = SIZE / 256
    squares = float(((counts - expected) ** 2 / expected).sum())
    assert abs(squares - 255) < 5 * 22.6


def test_neighbours_updates_and_seeds_have_nothing_to_do_with_each_other() -> None:
    base_P = drawn(1)
    for distance in (1, 2, 16, 4096, 65536):
        assert correlation(base_P[:-distance], base_P[distance:]) < 5
    for seed in (0, 2, 3, 1 << 32, -1):
        assert correlation(base_P, drawn(seed)) < 5
    for update in (1, 2, 3, 255):
        assert correlation(base_P, drawn(1, update)) < 5
    assert correlation(base_P, drawn(1, start=1 << 32)) < 5


def test_updates_do_not_draw_from_one_row_shifted() -> None:
    """No two updates' numbers are the same numbers in another order, as they would be with keys that only shift."""
    first = set(drawn(1, 0, size=4096).tolist())
    second = set(drawn(1, 1, size=4096).tolist())
    assert len(first & second) < 20  # 4096^2 / 2^24 = 1 is expected
