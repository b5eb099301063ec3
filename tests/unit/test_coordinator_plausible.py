"""Tokens that count: nobody's statement weighs more than its lease, and its time, make plausible."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.plausible import FASTER_AT_MOST, Counted, Pace, Stated, Work, count_tokens, fast_pace

WORK = Work(steps=20, batch=8, tokens=128)
FULL = 20 * 8 * 128
CREW = [Pace(name, pace) for name, pace in [("ada", 900.0), ("bob", 1000.0), ("cyd", 400.0), ("dan", 100.0)]]

numbers = st.integers(0, 1 << 53)
paces = st.lists(st.builds(Pace, st.sampled_from("abcdefgh"), st.floats(0, 1e9)), max_size=30)


def honest(steps: int = 20) -> Stated:
    return Stated(tokens=steps * 8 * 128, examples=steps * 8, steps=steps)


@settings(max_examples=200, deadline=None)
@given(tokens=numbers, examples=numbers, steps=numbers, took_s=st.floats(-10, 1e6), others=paces)
def test_no_statement_counts_for_more_than_its_lease_or_itself(
    tokens: int, examples: int, steps: int, took_s: float, others: list[Pace]
) -> None:
    counted = count_tokens(Stated(tokens, examples, steps), WORK, took_s, others, "me")
    assert 1 <= counted.tokens <= max(1, min(tokens, FULL, examples * 128, steps * 8 * 128))
    assert counted.steps <= min(steps, WORK.steps)
    assert counted.reason or counted.tokens == tokens


@settings(max_examples=100, deadline=None)
@given(tokens=numbers, more=numbers, others=paces, took_s=st.floats(0, 1e4))
def test_stating_more_never_lowers_and_never_passes_the_cap(
    tokens: int, more: int, others: list[Pace], took_s: float
) -> None:
    low = count_tokens(Stated(tokens, 160, 20), WORK, took_s, others, "me").tokens
    high = count_tokens(Stated(tokens + more, 160, 20), WORK, took_s, others, "me").tokens
    assert low <= high <= FULL


def test_a_thousand_times_the_tokens_moves_nothing() -> None:
    true, lie = honest(), Stated(1000 * FULL, 160, 20)
    assert (
        count_tokens(lie, WORK, 60.0, CREW, "eve").tokens == count_tokens(true, WORK, 60.0, CREW, "eve").tokens == FULL
    )
    bolder = Stated(1000 * FULL, 1000 * 160, 1000 * 20)
    counted = count_tokens(bolder, WORK, 60.0, CREW, "eve")
    assert counted == Counted(FULL, 20, counted.reason)
    assert counted.reason == (
        "20,480,000 tokens in 160,000 examples and 20,000 steps were stated, the lease has room for 20,480 "
        "(20 steps of 8 examples of 128)"
    )


def test_an_honest_unit_counts_whole_also_when_it_ended_early() -> None:
    assert count_tokens(honest(), WORK, 30.0, CREW, "eve") == Counted(FULL, 20)
    assert count_tokens(honest(5), WORK, 30.0, CREW, "eve") == Counted(FULL // 4, 5)


def test_a_unit_that_came_back_too_soon_counts_for_what_fast_machines_could_have_done() -> None:
    counted = count_tokens(honest(), WORK, 0.5, CREW, "eve")
    assert counted.tokens == int(FASTER_AT_MOST * 900 * 0.5)
    assert (
        "20,480 tokens in 0.5 s were stated, 4,500 count: fast machines of this run do 900 a second" in counted.reason
    )


def test_one_liar_s_pace_moves_nothing() -> None:
    liar = [Pace("liar", 1e12)]
    assert fast_pace([*CREW, *liar]) == 1000.0
    assert fast_pace(CREW) == 900.0
    many = [Pace(f"n{i}", 100.0) for i in range(40)]
    assert fast_pace([*many, *[Pace(f"liar{i}", 1e12) for i in range(9)]]) == 100.0


def test_a_contributor_is_not_compared_with_itself_and_has_one_voice() -> None:
    own = [Pace("eve", 1e9)] * 50
    assert count_tokens(honest(), WORK, 0.5, [*CREW, *own], "eve").tokens == 4500
    assert fast_pace([*CREW, *[Pace("dan", 100.0)] * 50]) == 900.0


def test_with_few_others_only_the_lease_bounds() -> None:
    assert fast_pace(CREW[:3]) is None
    assert count_tokens(honest(), WORK, 0.001, CREW[:3], "eve").tokens == FULL


def test_stating_nothing_counts_for_one_token_so_that_a_round_can_be_merged() -> None:
    assert count_tokens(Stated(0, 0, 0), WORK, 1.0, [], "eve") == Counted(1, 0, "no tokens were stated; 1 counts")


@pytest.mark.parametrize("took_s", [-5.0, 0.0])
def test_a_clock_that_stands_still_or_goes_back_is_survived(took_s: float) -> None:
    assert count_tokens(honest(), WORK, took_s, CREW, "eve").tokens == 1
