"""What may go between nodes: never more than an owner allows, and nothing that would come too late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from barnraise.swarm.blob_choice import Has, behind_after_s
from barnraise.swarm.blob_limits import GIVING_MAX, NOTHING, Limits, gives, takers

SIZES = st.integers(1, 1 << 40)
RATES = st.floats(0, 1e9)


@given(SIZES, RATES)
def test_all_who_take_at_a_time_are_through_before_they_give_up(size: int, rate: float) -> None:
    most = takers(size, rate)
    assert 0 <= most <= GIVING_MAX
    if most:
        assert most * size / rate <= behind_after_s(size) * (1 + 1e-9)
    if most < GIVING_MAX:
        assert (most + 1) * size > rate * behind_after_s(size) * (1 - 1e-9)


@given(SIZES, RATES, st.integers(0, 10), st.booleans())
def test_what_is_said_follows_from_the_limits(size: int, rate: float, giving: int, paused: bool) -> None:
    has = gives(size, giving, Limits(rate, None, paused))
    assert (has is Has.NOT) == (paused or not takers(size, rate))
    assert (has is Has.WHOLE) == (not paused and giving < takers(size, rate))


def test_without_limits_a_few_take_at_a_time() -> None:
    assert takers(1 << 40, None) == takers(0, 0.0) == GIVING_MAX
    assert [gives(1, giving, Limits()) for giving in (0, GIVING_MAX - 1, GIVING_MAX)] == [
        Has.WHOLE,
        Has.WHOLE,
        Has.BUSY,
    ]


def test_before_the_owner_has_said_anything_there_is_nothing() -> None:
    assert gives(1, 0, NOTHING) is Has.NOT
    assert gives(1, 0, Limits(up_bytes_per_s=0.0)) is Has.NOT


def test_a_slow_line_gives_small_blobs_and_no_large_ones() -> None:
    slow = Limits(up_bytes_per_s=100e3)
    assert gives(140_000, 0, slow) is Has.WHOLE
    assert gives(12_000_000, 0, slow) is Has.NOT
