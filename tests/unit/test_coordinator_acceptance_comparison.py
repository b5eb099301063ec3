"""Which test and interval a metric gets, and that the direction of the metric is the only thing that is turned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coordinator.acceptance.metric import BITS_PER_BYTE, BRIER, SHARE, Metric
from coordinator.acceptance.statistics.comparison import (
    SHOWN,
    changed,
    difference_p,
    interval,
    not_worse_p,
    worse_p,
    worsening,
)
from coordinator.acceptance.statistics.mcnemar import any_difference, more_lost
from coordinator.acceptance.statistics.proportions import drop_interval, paired_drop
from coordinator.acceptance.statistics.resampling import LOWEST_P

Array = NDArray[np.float64]

LEAKED = Metric("share", higher_is_better=False, binary=True, bounds=(0.0, 1.0))


def draws(purpose: str) -> np.random.Generator:
    return np.random.default_rng([7, len(purpose)])


def noise(count: int, mean: float = 0.0, spread: float = 0.1) -> Array:
    return np.random.default_rng(count).normal(mean, spread, count)


def flips(lost: int, gained: int, same: int) -> Array:
    """Worsening of right and wrong."""
    return np.repeat([1.0, -1.0, 0.0], [lost, gained, same])


@pytest.mark.parametrize(("metric", "sign"), [(BITS_PER_BYTE, 1), (BRIER, 1), (SHARE, -1), (LEAKED, 1)])
def test_worse_is_what_the_metric_says(metric: Metric, sign: int) -> None:
    base, candidate = np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0])
    assert worsening(metric, base, candidate).tolist() == [sign, 0, -sign]


def test_changes_are_counted_and_the_largest_named() -> None:
    found = changed(np.array([0.1, -0.3, 0.0, 0.5, 0.1, -0.2]))
    assert (found.worse, found.better) == (3, 2)
    assert found.worst == (3, 0, 4)
    assert found.best == (1, 5)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=80))
@settings(deadline=None)
def test_of_many_changes_few_are_named(values: list[float]) -> None:
    found = changed(np.array(values))
    assert found.worse == values.count(1.0)
    assert found.better == values.count(-1.0)
    assert found.worst == tuple(index for index, value in enumerate(values) if value == 1.0)[:SHOWN]
    assert found.best == tuple(index for index, value in enumerate(values) if value == -1.0)[:SHOWN]


def test_right_and_wrong_get_the_score_test_and_mcnemar() -> None:
    values_N = flips(9, 4, 87)
    assert not_worse_p(SHARE, values_N, 0.1, draws) == (paired_drop(9, 4, 100, 0.1), "paired score test")
    assert not_worse_p(SHARE, values_N, 0.0, draws) == (more_lost(4, 9), "exact McNemar")
    assert difference_p(SHARE, values_N, draws) == any_difference(9, 4)
    assert interval(SHARE, values_N, 0.9, draws) == drop_interval(9, 4, 100, 0.9)
    assert worse_p(SHARE, values_N, 0.0, draws) == more_lost(9, 4)
    assert worse_p(SHARE, values_N, 0.1, draws) == pytest.approx(1 - paired_drop(9, 4, 100, 0.1))


def test_any_other_value_gets_sign_flips() -> None:
    better_N = noise(60, -0.1)
    p, name = not_worse_p(BITS_PER_BYTE, better_N, 0.05, draws)
    assert (p, name) == (LOWEST_P, "sign flips")
    assert difference_p(BITS_PER_BYTE, better_N, draws) == pytest.approx(2 * LOWEST_P)
    assert worse_p(BITS_PER_BYTE, better_N, 0.0, draws) > 0.99
    assert worse_p(BITS_PER_BYTE, -better_N, 0.0, draws) == LOWEST_P
    low, high = interval(BITS_PER_BYTE, better_N, 0.9, draws)
    assert low < better_N.mean() < high < -0.05


@pytest.mark.parametrize("metric", [BITS_PER_BYTE, SHARE])
def test_where_nothing_changes_nothing_is_found(metric: Metric) -> None:
    same_N = np.zeros(40)
    assert difference_p(metric, same_N, draws) == 1.0
    assert interval(metric, same_N, 0.9, draws) == (0.0, 0.0)
    assert worse_p(metric, same_N, 0.05, draws) > 0.05


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60), st.sampled_from([0.0, 0.02, 0.1, 0.5]))
@settings(deadline=None)
def test_a_difference_has_no_direction(lost: int, gained: int, same: int, margin: float) -> None:
    values_N = flips(lost, gained, same)
    assert difference_p(SHARE, values_N, draws) == difference_p(SHARE, -values_N, draws)
    low, high = drop_interval(lost, gained, lost + gained + same, 0.9)
    mirrored = drop_interval(gained, lost, lost + gained + same, 0.9)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)
    # Shown to be better than the margin and shown to be worse than it exclude each other.
    assert not_worse_p(SHARE, values_N, margin, draws)[0] + worse_p(SHARE, values_N, margin, draws) >= 1 - 1e-9


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60), st.sampled_from([0.02, 0.1, 0.3]))
@settings(deadline=None)
def test_the_interval_of_a_drop_is_what_its_test_leaves(lost: int, gained: int, same: int, margin: float) -> None:
    examples = lost + gained + same + 1
    low, high = drop_interval(lost, gained, examples, 0.9)
    assert -1 <= low <= (lost - gained) / examples <= high <= 1
    if abs(high - margin) > 1e-6:
        assert (paired_drop(lost, gained, examples, margin) <= 0.05) == (high < margin)
    if abs(low - margin) > 1e-6:
        assert (1 - paired_drop(lost, gained, examples, margin) <= 0.05) == (low > margin)


def test_the_interval_of_a_drop_covers_it() -> None:
    """Exact coverage for shares of 6% lost and 2% gained, and for none gained at all."""
    for lost_share, gained_share in ((0.06, 0.02), (0.05, 0.0)):
        random = np.random.default_rng(0)
        counts = random.multinomial(80, [lost_share, gained_share, 1 - lost_share - gained_share], 2000)
        covered = np.mean(
            [
                low <= lost_share - gained_share <= high
                for low, high in (drop_interval(lost, gained, 80, 0.9) for lost, gained, _ in counts[:400].tolist())
            ]
        )
        assert 0.86 <= covered <= 0.99


def test_published_numbers() -> None:
    """Airway hyper-responsiveness of 21 children before and after a transplantation, in Fagerland et al. 2014."""
    assert drop_interval(1, 7, 21, 0.95) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert any_difference(1, 7) == pytest.approx(0.070, abs=5e-4)
