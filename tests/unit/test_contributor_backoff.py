"""Back-off and interruption: bounded, jittered, and in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import NetworkError, RefusedError, UnreachableError
from contributor.backoff import CAP_S, FIRST_S, after_failure, worth_repeating
from contributor.events import NodeEvent
from contributor.interrupt import Interrupt, StopRequestedError
from contributor.patience import Patience
from contributor.whereabouts import Whereabouts

URL = "http://10.0.0.1:8000"


@settings(deadline=None)
@given(failures=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_a_pause_is_bounded_on_both_sides(failures: int, jitter: float) -> None:
    pause = after_failure(failures, UnreachableError("gone"), URL, jitter)
    assert FIRST_S / 2 <= pause.delay_s <= CAP_S
    assert pause.delay_s >= after_failure(max(failures - 1, 1), UnreachableError("gone"), URL, 0).delay_s / 2


def test_the_reason_says_who_why_when_and_what_to_run() -> None:
    reason = after_failure(1, UnreachableError("the connection was refused"), "http://10.0.0.1:8000", 0.5).reason
    assert reason == (
        "waiting for 10.0.0.1:8000: the connection was refused; trying again in 0.4 s. "
        "Find out why: barnraise doctor http://10.0.0.1:8000"
    )


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (UnreachableError("no"), True),
        (RefusedError("no", status=500), True),
        (RefusedError("no", status=507), True),
        (RefusedError("no", status=429), True),
        (RefusedError("no", status=403), False),
        (RefusedError("no", status=410), False),
        (RefusedError("no"), False),
    ],
)
def test_only_what_may_change_is_repeated(error: NetworkError, again: bool) -> None:
    assert worth_repeating(error) is again


class Flaky:
    def __init__(self, failures: int) -> None:
        self.left = failures

    def __call__(self) -> str:
        self.left -= 1
        if self.left >= 0:
            raise UnreachableError("gone")
        return "answer"


def patience(slept: list[float], seen: list[NodeEvent], give_up_after_s: float | None = None) -> Patience:
    return Patience(Whereabouts(URL), Interrupt(slept.append), seen.append, give_up_after_s, jitter=lambda: 0.5)


def test_patience_asks_until_there_is_an_answer_and_says_so() -> None:
    slept: list[float] = []
    seen: list[NodeEvent] = []
    assert patience(slept, seen).ask(Flaky(4)) == "answer"
    assert [event.kind for event in seen] == ["waiting"] * 4
    assert sum(slept) == pytest.approx(0.75 * (0.5 + 1 + 2 + 4), abs=1e-6)


def test_patience_can_end() -> None:
    with pytest.raises(UnreachableError, match=r"gave up on http://10.0.0.1:8000 after 4 attempts: gone"):
        patience([], [], give_up_after_s=3.0).ask(Flaky(99))


def test_a_final_refusal_is_not_repeated() -> None:
    slept: list[float] = []

    def refuse() -> str:
        raise RefusedError("never", status=403)

    with pytest.raises(RefusedError):
        patience(slept, []).ask(refuse)
    assert slept == []


@pytest.mark.parametrize("until_stop", [False, True])
def test_a_stop_ends_the_waiting(until_stop: bool) -> None:
    interrupt = Interrupt(lambda _s: interrupt.press())
    held = Patience(Whereabouts(URL), interrupt, lambda _event: None, jitter=lambda: 0.5)
    with pytest.raises(StopRequestedError):
        held.ask(Flaky(99), busy=lambda: until_stop)
    assert interrupt.stop is until_stop


def test_one_press_finishes_two_stop_three_leave() -> None:
    interrupt = Interrupt()
    interrupt.press()
    assert (interrupt.finish, interrupt.stop) == (True, False)
    interrupt.press()
    assert (interrupt.finish, interrupt.stop) == (True, True)
    with pytest.raises(KeyboardInterrupt):
        interrupt.press()


def test_a_termination_stops_at_once() -> None:
    interrupt = Interrupt()
    interrupt.terminate()
    assert (interrupt.finish, interrupt.stop) == (True, True)
