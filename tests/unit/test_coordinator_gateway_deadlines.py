"""How slow a client may be, as a pure decision."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.gateway.deadlines import Deadlines, Stage

LIMITS = Deadlines(request_s=30.0, min_bytes_per_s=1000)
stages: st.SearchStrategy[Stage] = st.sampled_from(("head", "body", "answer"))


def test_headers_have_the_deadline_whatever_came() -> None:
    assert LIMITS.overdue("head", 30.0, 0) is None
    assert LIMITS.overdue("head", 31.0, 10**9) == "the headers are not complete after 31 s; send the request again"


def test_a_body_earns_time_with_its_bytes() -> None:
    assert LIMITS.overdue("body", 30.0, 0) is None
    assert LIMITS.overdue("body", 100.0, 70_000) is None
    assert LIMITS.overdue("body", 101.0, 70_000) == (
        "70000 bytes came of the body in 101 s, 1000 a second are needed; try again"
    )
    assert "taken of the answer" in str(LIMITS.overdue("answer", 31.0, 5))


def test_a_stage_counts_anew_once_a_whole_deadline_is_earned() -> None:
    assert not LIMITS.earned(29_999)
    assert LIMITS.earned(30_000)
    assert not Deadlines(30.0, 0).earned(0)
    assert Deadlines(30.0, 0).earned(1)  # without a rate something has to move, however little


def test_without_a_rate_only_the_deadline_counts() -> None:
    assert Deadlines(30.0, 0).overdue("body", 29.0, 0) is None
    assert Deadlines(30.0, 0).overdue("body", 31.0, 10**9) is not None


@settings(deadline=None)
@given(stages, st.floats(0, 1e6), st.integers(0, 10**9), st.integers(0, 10**9))
def test_more_bytes_never_make_it_later(stage: Stage, elapsed_s: float, moved: int, more: int) -> None:
    if LIMITS.overdue(stage, elapsed_s, moved) is None:
        assert LIMITS.overdue(stage, elapsed_s, moved + more) is None
        assert LIMITS.overdue(stage, elapsed_s / 2, moved) is None
