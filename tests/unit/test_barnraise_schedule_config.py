"""The learning rate of a round: it rises, stays and falls, and is the configured one where nothing is said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnraise.errors import ConfigError
from barnraise.schedule_config import ScheduleConfig
from barnraise.sections import parse_section


@given(
    rising=st.integers(0, 9),
    even=st.integers(0, 30),
    falling=st.integers(1, 30),
    lowest=st.floats(0.01, 1),
)
def test_the_rate_rises_then_stays_then_falls_to_the_lowest_and_stays_there(
    rising: int, even: int, falling: int, lowest: float
) -> None:
    falls_from = rising + even + 1
    schedule = ScheduleConfig(rising_rounds=rising, falls_from=falls_from, falling_rounds=falling, lowest=lowest)
    factors = {number: schedule.factor(number) for number in range(1, falls_from + falling + 9)}
    assert all(0 < factor <= 1 for factor in factors.values())
    up = [factors[number] for number in range(1, rising + 1)]
    assert up == sorted(set(up))
    assert not up or up[-1] < 1
    assert {factors[number] for number in range(rising + 1, falls_from)} <= {1.0}
    down = [factors[number] for number in range(falls_from, falls_from + falling)]
    assert down == sorted(down, reverse=True)
    assert all(abs(factors[number] - lowest) < 1e-12 for number in factors if number >= falls_from + falling - 1)


def test_a_rise_and_a_fall_in_numbers() -> None:
    schedule = ScheduleConfig(rising_rounds=1, falls_from=4, falling_rounds=2, lowest=0.2)
    assert [round(schedule.factor(number), 9) for number in range(1, 8)] == [0.5, 1, 1, 0.6, 0.2, 0.2, 0.2]


@given(number=st.integers(1, 10**6))
def test_without_a_word_the_rate_is_the_same_in_every_round(number: int) -> None:
    assert ScheduleConfig().factor(number) == 1.0


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"rising_rounds": 5, "falls_from": 5}, "falls_from 5 is before the rise has ended.*from round 6 or a later"),
        ({"lowest": 0.5}, "lowest says how the rate falls, and falls_from does not say in which round"),
        ({"rising_rounds": 2, "falling_rounds": 30}, "falling_rounds says how the rate falls"),
        ({"falls_from": 9, "falling_rounds": 0}, "falling_rounds: Input should be greater than 0"),
        ({"falls_from": 0}, "falls_from: Input should be greater than 0"),
        ({"falls_from": 9, "lowest": 0.0}, "lowest: Input should be greater than 0"),
        ({"rising_rounds": -1}, "rising_rounds: Input should be greater than or equal to 0"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused_in_words(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_section(ScheduleConfig, section, source="run.toml")


def test_a_schedule_that_was_written_out_whole_is_read_again() -> None:
    for schedule in (ScheduleConfig(), ScheduleConfig(falls_from=3, lowest=0.5)):
        assert parse_section(ScheduleConfig, schedule.model_dump(mode="json"), source="run.toml") == schedule
