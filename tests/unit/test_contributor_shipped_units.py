"""Units of the run that ships, on fast and slow machines: each ends with its update sent, before its lease does."""

from __future__ import annotations

import pytest

from barnraise.config import bundled_config, load_run_config
from contributor.training.horizon import Horizon, ends_here

TWO_CORES_STEP_S = 0.25
AFTER_S = 0.5
RUN = load_run_config(bundled_config("stdlib-lm"))


def _trained(step_s: float, after_s: float | None) -> tuple[int, float]:
    """Steps of a unit on a machine that takes so long for each, and when it has sent its update."""
    done, at_s, lease_s, steps = 0, 0.0, float(RUN.round.lease_for_s), RUN.training.steps
    while done < steps:
        done, at_s = done + 1, at_s + step_s
        if ends_here(Horizon(done, steps, lease_s - at_s, lease_s, step_s, after_s)) is not None:
            break
    return done, at_s + (after_s or AFTER_S)


def test_two_cores_train_for_about_half_a_minute_and_a_node_costs_little_beside_it() -> None:
    done, sent_at_s = _trained(TWO_CORES_STEP_S, AFTER_S)
    assert done == RUN.training.steps
    assert 15 < sent_at_s < 60
    assert AFTER_S / sent_at_s < 0.03


@pytest.mark.parametrize("after_s", [None, AFTER_S, 20 * AFTER_S])
@pytest.mark.parametrize("slower", [1, 5, 20, 23, 30, 60, 200])
def test_a_slower_machine_does_fewer_steps_and_sends_before_its_lease_ends(slower: int, after_s: float | None) -> None:
    done, sent_at_s = _trained(slower * TWO_CORES_STEP_S, after_s)
    assert sent_at_s <= RUN.round.lease_for_s
    possible = (RUN.round.lease_for_s - 30) / (slower * TWO_CORES_STEP_S)
    assert min(RUN.training.steps, possible) - 1 < done <= RUN.training.steps


def test_a_machine_that_is_twenty_times_slower_still_does_its_whole_unit() -> None:
    done, sent_at_s = _trained(20 * TWO_CORES_STEP_S, None)
    assert (done, sent_at_s < RUN.round.lease_for_s) == (RUN.training.steps, True)
