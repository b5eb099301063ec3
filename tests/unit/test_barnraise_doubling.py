"""Pauses between attempts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.doubling import doubled_s


@settings(deadline=None)
@given(st.integers(1, 10**9), st.floats(0.01, 100), st.floats(100, 1e4))
def test_a_pause_begins_as_it_should_doubles_and_has_an_end(failures: int, first_s: float, longest_s: float) -> None:
    assert doubled_s(1, first_s=first_s, longest_s=longest_s) == first_s
    before, now = (doubled_s(count, first_s=first_s, longest_s=longest_s) for count in (failures, failures + 1))
    assert now == min(longest_s, 2 * before)
