"""The turns of the benchmark of the governor."""

from __future__ import annotations

import pytest

from benchmarks.governor.plan import ARMS, JOBS, minutes, plan


def test_three_rounds_of_everybody_take_no_longer_than_half_an_hour() -> None:
    assert minutes(plan(JOBS, 3)) <= 30


@pytest.mark.parametrize("rounds", [1, 5])
def test_every_round_has_every_arm_beside_every_job_and_begins_with_another(rounds: int) -> None:
    planned = plan(JOBS, rounds)
    assert [(turn.job, turn.arm) for turn in planned if turn.number < 0] == [(job, "learned") for job in JOBS]
    for number in range(rounds):
        turns = [turn for turn in planned if turn.number == number]
        assert {(turn.job, turn.arm) for turn in turns} == {(job, arm) for job in JOBS for arm in ARMS}
        assert len(turns) == len(JOBS) * len(ARMS)
        assert turns[0].arm == ARMS[number % len(ARMS)]


def test_one_job_alone_and_short_turns_learn_no_longer_than_a_turn() -> None:
    planned = plan({"steady": 20.0}, 2)
    assert {turn.job for turn in planned} == {"steady"}
    assert {turn.seconds for turn in planned} == {20.0}
    assert minutes(planned) < minutes(plan({"steady": 75.0}, 2))
