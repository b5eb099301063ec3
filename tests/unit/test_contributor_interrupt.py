"""What signals and threads ask of a node, as flags; and waiting that ends when it should."""

from __future__ import annotations

import os
import signal

import pytest

from contributor.interrupt import Interrupt


def quiet() -> Interrupt:
    return Interrupt(lambda _seconds: None)


def flags(interrupt: Interrupt) -> tuple[bool, bool, bool, bool]:
    return interrupt.finish, interrupt.stop, interrupt.leave, interrupt.paused


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        ([signal.SIGINT], (True, False, False, False)),
        ([signal.SIGINT, signal.SIGINT], (True, True, False, False)),
        ([signal.SIGTERM], (True, True, False, False)),
        ([signal.SIGHUP], (True, True, False, False)),
    ],
)
def test_signals_set_flags_and_are_given_back(signals: list[int], expected: tuple[bool, ...]) -> None:
    found = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it, as nohup does
    try:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        interrupt = quiet()
        with interrupt.on_signals():
            for number in signals:
                os.kill(os.getpid(), number)
        assert flags(interrupt) == expected
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    finally:
        signal.signal(signal.SIGHUP, found)


def test_the_third_press_leaves_at_once() -> None:
    interrupt = quiet()
    interrupt.press()
    interrupt.press()
    with pytest.raises(KeyboardInterrupt):
        interrupt.press()


def test_under_nohup_a_closed_terminal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupt = quiet()
        with interrupt.on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert not interrupt.stop
    finally:
        signal.signal(signal.SIGHUP, before)


def test_leave_is_a_stop_and_finish_ends_a_pause() -> None:
    interrupt = quiet()
    interrupt.pause()
    interrupt.ask_finish()
    assert flags(interrupt) == (True, False, False, False)
    interrupt.ask_leave()
    assert flags(interrupt) == (True, True, True, False)


@pytest.mark.parametrize(
    ("act", "until_stop", "slices"), [("finish", False, 1), ("finish", True, 50), ("stop", True, 1)]
)
def test_waiting_ends_with_what_it_waits_for(act: str, until_stop: bool, slices: int) -> None:
    slept: list[float] = []
    interrupt = Interrupt(lambda seconds: (slept.append(seconds), setattr(interrupt, act, True))[0])
    interrupt.wait(5.0, until_stop=until_stop)
    assert abs(len(slept) - slices) <= 1
    enough: list[float] = []
    Interrupt(enough.append).wait(5.0, until=lambda: len(enough) == 3)
    assert len(enough) == 3
