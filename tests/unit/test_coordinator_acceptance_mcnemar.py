"""McNemar's exact test: against counting by hand, and against what a test without pairs makes of the same answers."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.acceptance.statistics.mcnemar import any_difference, more_lost
from coordinator.acceptance.statistics.resampling import below_zero

counts = st.integers(0, 400)


def unpaired(base: np.ndarray, candidate: np.ndarray) -> float:
    """Two-sided z-test of two shares that forgets which answers belong together."""
    first, second = float(base.mean()), float(candidate.mean())
    spread = math.sqrt((first * (1 - first) + second * (1 - second)) / len(base))
    return 2 * (1 - NormalDist().cdf(abs(second - first) / spread))


def test_pairs_find_what_shares_alone_do_not() -> None:
    """The p-values that lm-evaluation-harness pull request 3868 gives for its 220 examples, 0.080 and 0.008."""
    both, lost, gained, neither = 109, 12, 30, 69
    base = np.repeat([1.0, 1.0, 0.0, 0.0], [both, lost, gained, neither])
    candidate = np.repeat([1.0, 0.0, 1.0, 0.0], [both, lost, gained, neither])
    assert len(base) == 220
    assert unpaired(base, candidate) == pytest.approx(0.080, abs=0.0005)
    flips = candidate - base
    paired = any_difference(int((flips < 0).sum()), int((flips > 0).sum()))
    assert paired == pytest.approx(0.008, abs=0.0005)
    assert paired < 0.05 < unpaired(base, candidate)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (0, 5), (3, 4), (7, 2), (6, 6)])
def test_it_counts_what_coins_would_give(lost: int, gained: int) -> None:
    falls = [sum(coins) for coins in itertools.product((0, 1), repeat=lost + gained)]
    assert more_lost(lost, gained) == sum(heads >= lost for heads in falls) / len(falls)
    as_far = sum(abs(2 * heads - lost - gained) >= abs(lost - gained) for heads in falls) / len(falls)
    assert any_difference(lost, gained) == pytest.approx(as_far)


@given(counts, counts)
def test_its_laws(lost: int, gained: int) -> None:
    p = any_difference(lost, gained)
    assert 0 < p <= 1
    assert p == any_difference(gained, lost)
    assert more_lost(lost + 1, gained) <= more_lost(lost, gained) <= 1
    assert more_lost(lost, gained) + more_lost(gained, lost) >= 1  # the case at hand counts on both sides


def test_where_nothing_differs_there_is_no_evidence() -> None:
    assert any_difference(0, 0) == more_lost(0, 0) == 1.0


@given(st.integers(2, 12), st.integers(0, 6))
def test_the_level_is_kept_whatever_the_number_of_differences(differ: int, extra: int) -> None:
    """Chance of p <= level where each example that differs is lost or gained evenly."""
    total = differ + extra
    for level in (0.01, 0.05, 0.2):
        wrong = [lost for lost in range(total + 1) if any_difference(lost, total - lost) <= level]
        chance = sum(math.comb(total, lost) for lost in wrong) / 2**total
        assert chance <= level


def test_sign_flips_of_right_and_wrong_are_the_same_test() -> None:
    flips = np.repeat([-1.0, 1.0, 0.0], [14, 5, 60])
    assert below_zero(flips, np.random.default_rng(0)) == pytest.approx(more_lost(14, 5), abs=0.006)


def test_many_answers_take_no_time() -> None:
    assert any_difference(5_000, 5_000) == 1.0
    assert 0 < any_difference(4_800, 5_200) < 1e-4
