"""When a sidecar is started again: always, later each time, and soon once it has held."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.swarm.restarts import CAP_S, FIRST_S, FORGIVEN_AFTER_S, Restarts


@given(st.lists(st.floats(0, FORGIVEN_AFTER_S, exclude_max=True), min_size=1, max_size=40))
@settings(deadline=None)
def test_pauses_double_up_to_a_cap(served: list[float]) -> None:
    restarts, waits = Restarts(), []
    for served_s in served:
        restarts, restart = restarts.after(served_s, "it ended")
        waits.append(restart.wait_s)
        assert restart.reason == f"it ended; starting it again in {restart.wait_s:.0f} s"
    assert waits[0] == FIRST_S
    assert all(later == min(CAP_S, 2 * earlier) for earlier, later in pairwise(waits))


@given(st.integers(0, 100), st.floats(FORGIVEN_AFTER_S, 1e9))
@settings(deadline=None)
def test_one_that_held_is_forgiven_what_came_before(count: int, served_s: float) -> None:
    restarts, restart = Restarts(count).after(served_s, "it ended")
    assert (restarts.count, restart.wait_s) == (1, FIRST_S)
