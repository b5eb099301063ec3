"""Magnitudes: counts that add up, and thresholds that keep what they say."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise import native
from merge.magnitudes import MagnitudeCounter, Magnitudes, refined

quick = settings(deadline=None, max_examples=40)
BIN = 2.0**-7  # widest relative width of a bin: 8 significant bits
SUBNORMAL_BIN = 2.0**-133  # and the absolute width of the lowest ones


def normal(size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def awkward(size: int, seed: int) -> Tensor:
    """Values of very different sizes, zeros of both signs, ties, and subnormal numbers."""
    draws = torch.Generator().manual_seed(seed)
    values_P = torch.randn(size, generator=draws) * 10.0 ** torch.randint(-42, 38, (size,), generator=draws)
    values_P[torch.rand(size, generator=draws) < 0.3] = 0.0
    values_P[torch.rand(size, generator=draws) < 0.1] = -0.0
    values_P[torch.rand(size, generator=draws) < 0.2] = -1.5
    return values_P


def same(left: Magnitudes, right: Magnitudes) -> bool:
    return torch.equal(left.edges_B, right.edges_B) and torch.equal(left.counts_B, right.counts_B)


@given(seed=st.integers(0, 2**16), size=st.integers(1, 3000), cuts=st.lists(st.integers(0, 3000), max_size=4))
@quick
def test_it_does_not_matter_how_a_tensor_is_cut(seed: int, size: int, cuts: list[int]) -> None:
    values_P = awkward(size, seed)
    edges = [0, *sorted(min(cut, size) for cut in cuts), size]
    parts = [values_P[start:end] for start, end in itertools.pairwise(edges)]
    counter = MagnitudeCounter()
    for part_P in parts:
        counter.add(part_P)
    whole = Magnitudes.of(values_P)
    assert same(Magnitudes.total([Magnitudes.of(part_P) for part_P in parts]), whole)
    assert same(counter.magnitudes(), whole)
    assert whole.elements == size


@pytest.mark.parametrize("size", [1, 100, 40_001, 600_000])
def test_the_compiled_loops_count_the_same(size: int) -> None:
    values_P = awkward(size, 1)
    count = max(1, size // 5)
    found = Magnitudes.of(values_P)
    finer = refined(found, [count], values_P.split(50_000))
    with native.disabled():
        assert same(Magnitudes.of(values_P), found)
        assert same(refined(found, [count], [values_P]), finer)


@given(seed=st.integers(0, 2**16), size=st.integers(1, 2000), share=st.floats(0, 1))
@quick
def test_the_largest_are_all_kept_and_hardly_more(seed: int, size: int, share: float) -> None:
    values_P = awkward(size, seed)
    magnitudes, count = Magnitudes.of(values_P), int(share * size)
    threshold = magnitudes.largest(count)
    sizes_P = values_P.abs()
    kept = int((sizes_P >= threshold).sum())
    assert kept >= count
    if 0 < count < size:
        last = float(sizes_P.sort(descending=True).values[count - 1])
        assert last * (1 - BIN) - SUBNORMAL_BIN < threshold <= last


@given(seed=st.integers(0, 2**16), size=st.integers(1, 2000), share=st.floats(0, 1))
@quick
def test_beyond_a_count_lies_no_more_than_that(seed: int, size: int, share: float) -> None:
    values_P = awkward(size, seed)
    count = int(share * size)
    for magnitudes in (Magnitudes.of(values_P), refined(Magnitudes.of(values_P), [count], [values_P])):
        assert int((values_P.abs() >= magnitudes.beyond(count)).sum()) <= count


@given(seed=st.integers(0, 2**16), size=st.integers(2, 2000), share=st.floats(0, 1), block=st.integers(1, 700))
@quick
def test_refined_thresholds_are_exact(seed: int, size: int, share: float, block: int) -> None:
    values_P = awkward(size, seed)
    count = int(share * size)
    magnitudes = refined(Magnitudes.of(values_P), [count], values_P.split(block))
    ordered = values_P.abs().sort(descending=True).values
    assert magnitudes.elements == size
    if 0 < count < size:
        assert magnitudes.largest(count) == float(ordered[count - 1])
        assert int((ordered >= magnitudes.beyond(count)).sum()) == int((ordered > ordered[count]).sum())


def test_how_much_too_much_a_single_pass_keeps_of_normal_values() -> None:
    """The figure that the module's docstring promises: a few in a thousand elements."""
    values_P = normal(1 << 20)
    for density in (0.05, 0.2, 0.5, 0.9):
        count = int(density * len(values_P))
        kept = int((values_P.abs() >= Magnitudes.of(values_P).largest(count)).sum())
        assert 0 <= kept - count < 0.005 * len(values_P)


def test_none_and_all() -> None:
    magnitudes = Magnitudes.of(torch.tensor([0.0, -1.0, 2.0]))
    assert magnitudes.largest(0) == float("inf")
    assert magnitudes.largest(3) == magnitudes.largest(7) == 0.0
    assert magnitudes.beyond(3) == 0.0
    assert magnitudes.beyond(0) > 2.0


@given(seed=st.integers(0, 2**16), size=st.integers(1, 2000))
@quick
def test_ranks_are_shares_of_what_is_smaller(seed: int, size: int) -> None:
    """Ties, and what agrees in 8 significant bits, share the rank in the middle."""
    values_P = awkward(size, seed)
    ranks = Magnitudes.of(values_P).ranks()
    uppers_P = (values_P.view(torch.int32) & 0x7FFFFFFF) >> 16
    for upper in uppers_P.unique().tolist():
        below, equal = int((uppers_P < upper).sum()), int((uppers_P == upper).sum())
        assert float(ranks[upper]) == pytest.approx((below + equal / 2) / size, rel=1e-12)
    assert float(ranks[uppers_P.to(torch.int64)].mean()) == pytest.approx(0.5, abs=1e-9)
    assert torch.equal(refined(Magnitudes.of(values_P), [size // 3], [values_P]).ranks(), ranks)


def test_what_is_known_is_found_once() -> None:
    magnitudes, asked = Magnitudes.of(normal(100)), []

    def find(counts: Magnitudes) -> int:
        asked.append(counts)
        return counts.elements

    assert [magnitudes.known("elements", find) for _ in range(3)] == [100] * 3
    assert len(asked) == 1
    assert magnitudes.known("another", find) == 100
    assert len(asked) == 2
