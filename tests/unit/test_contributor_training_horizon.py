"""Units end inside their leases: on every machine that is fast enough for a tenth of the steps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from contributor.training.horizon import Horizon, Tempo, ends_here


def simulate(steps: int, lease_s: float, step_s: float, after_s: float) -> tuple[int, float]:
    """A unit on a machine with a constant pace; its steps, and when its receipt was there."""
    now_s, done = 0.0, 0
    while done < steps:
        now_s += step_s
        done += 1
        if ends_here(Horizon(done, steps, lease_s - now_s, lease_s, step_s, after_s)):
            break
    return done, now_s + after_s


@settings(max_examples=200, deadline=None)
@given(
    steps=st.integers(1, 200),
    lease_s=st.floats(1, 1e4),
    step_s=st.floats(1e-3, 1e3),
    after_s=st.floats(0, 1e3),
)
def test_a_unit_is_in_time_or_has_too_few_steps_to_end(
    steps: int, lease_s: float, step_s: float, after_s: float
) -> None:
    done, receipt_s = simulate(steps, lease_s, step_s, after_s)
    least = max(1, round(0.1 * steps))
    if least * step_s + after_s <= lease_s * (1 - 1e-9):
        assert receipt_s <= lease_s * (1 + 1e-9)
        assert least <= done <= steps
        # and not one step fewer than there was time for
        assert done == steps or (done + 1) * step_s + after_s > lease_s * (1 - 1e-9)


def test_a_fast_machine_does_all_steps_and_a_slow_one_what_there_is_time_for() -> None:
    assert simulate(20, 600.0, 1.0, 5.0)[0] == 20
    assert simulate(20, 600.0, 60.0, 30.0)[0] == 9


def test_the_reason_has_the_numbers() -> None:
    reason = ends_here(Horizon(done=9, steps=20, left_s=60.0, lease_s=600.0, step_s=60.0, after_s=30.0))
    assert reason == (
        "this unit ends after 9 of 20 steps: 60 s of the lease are left, a step takes 60.0 s, and 30 s are kept for "
        "sending"
    )


def test_too_little_to_send_goes_on_and_so_does_a_lease_that_is_over() -> None:
    assert ends_here(Horizon(1, 20, 1.0, 600.0, 500.0, 5.0)) is None
    assert ends_here(Horizon(2, 20, 1.0, 600.0, 500.0, 5.0)) is not None
    assert ends_here(Horizon(12, 20, -1.0, 600.0, 50.0, 5.0)) is None


def test_nothing_measured_reserves_a_part_of_the_lease() -> None:
    assert Horizon(1, 20, 600.0, 600.0, 1.0).reserved_s == 30.0
    assert Horizon(1, 20, 60.0, 60.0, 1.0).reserved_s == 5.0
    assert Horizon(1, 20, 8.0, 8.0, 1.0).reserved_s == 2.0


def test_the_slowest_of_the_last_counts_and_is_forgotten() -> None:
    now = [0.0]
    tempo = Tempo(lambda: now[0])
    for took_s in [9.0, 1.0, 2.0]:
        tempo.stepped(took_s)
    assert tempo.horizon(3, 20, 100.0, 600.0).step_s == 9.0
    for _ in range(8):
        tempo.stepped(1.0)
    assert tempo.horizon(11, 20, 100.0, 600.0).step_s == 1.0
    assert tempo.horizon(11, 20, 100.0, 600.0).after_s is None
    tempo.trained()
    now[0] += 7.0
    tempo.received()
    now[0] += 50.0
    tempo.received()  # of an earlier unit that had waited: says nothing about the next one
    assert tempo.horizon(11, 20, 100.0, 600.0).after_s == 7.0
