"""When to save: a kill loses a minute at most, and saving costs a quarter of a percent where that allows it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from contributor.saving import COST_SHARE, LOST_MAX_S, assumed_cost_s, is_due


@settings(deadline=None)
@given(st.floats(0.01, 120), st.floats(0, 30), st.integers(1, 300))
def test_a_kill_loses_a_minute_or_a_step_and_saving_is_cheap(step_s: float, cost_s: float, steps: int) -> None:
    since_s, worst_s, saved_s, trained_s = 0.0, 0.0, 0.0, 0.0
    for _ in range(steps):
        since_s += step_s
        trained_s += step_s
        worst_s = max(worst_s, since_s)
        if is_due(since_s, step_s, cost_s):
            since_s, saved_s = 0.0, saved_s + cost_s
    assert worst_s <= max(LOST_MAX_S, 2 * step_s) + 1e-6
    if cost_s / COST_SHARE + step_s < LOST_MAX_S and step_s < cost_s / COST_SHARE:
        assert saved_s <= 2 * COST_SHARE * trained_s + 1e-6


def test_a_unit_that_is_done_sooner_than_a_checkpoint_pays_writes_none() -> None:
    """Nothing is known of the disk before the first one: what is assumed is no promise, the minute is."""
    cost_s = assumed_cost_s(3_100_000)
    assert 0.15 < cost_s < 0.2
    assert not is_due(3.0, 0.25, cost_s)
    assert not is_due(LOST_MAX_S - 1.0, 0.25, cost_s)
    assert is_due(LOST_MAX_S, 0.25, cost_s)
    assert is_due(LOST_MAX_S, 1.0, assumed_cost_s(10**10))
    assert is_due(8.0, 0.25, cost_s / 10)
