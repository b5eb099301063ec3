"""What a person asks of a node: finish the unit, stop at the next step, pause, leave. From any thread or signal.

    SIGINT, finish     finish what was begun, send it, then stop
    SIGINT again       stop at the step boundary with a checkpoint
    SIGTERM, SIGHUP    the same as the second SIGINT; the latter when the terminal is closed
    SIGINT once more   leave at once; everything on disk is consistent anyway
    pause, resume      rest at the step boundary with a checkpoint, and go on from there
    leave              stop at the step boundary and give the lease back

The handlers only set flags: a lock taken in a handler could be one that the interrupted
code already holds. For the same reason other threads, that of the control socket and that of
the page, set flags too and nothing else.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupt", "StopRequestedError"]

SLICE_S = 0.1


class StopRequestedError(Exception):
    """Unwinds the node's work after a stop was asked for; never leaves this package."""


class Interrupt:
    """What was asked of a node so far.

    Attributes:
        finish: begin no new unit.
        stop: stop at the next step boundary. Implies ``finish``.
        leave: give the lease back when stopping. Implies ``stop``.
        paused: rest at the next step boundary, until it is taken back.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self.finish = False
        self.stop = False
        self.leave = False
        self.paused = False
        self._sleep = sleep

    def press(self) -> None:
        """One Ctrl-C.

        Raises:
            KeyboardInterrupt: it was the third.
        """
        if self.stop:
            raise KeyboardInterrupt
        self.stop = self.finish
        self.ask_finish()

    def terminate(self) -> None:
        """A request to be gone soon, as an init system or a batch queue makes it."""
        self.finish = self.stop = True

    def ask_finish(self) -> None:
        """Complete this unit, then stop; a pause ends, for there is a unit to complete."""
        self.paused = False
        self.finish = True

    def ask_leave(self) -> None:
        """Stop at the next step boundary and give the lease back."""
        self.leave = True
        self.terminate()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def wait(self, seconds: float, *, until_stop: bool = False, until: Callable[[], bool] = lambda: False) -> None:
        """Sleep, but wake up early once a stop is asked for.

        Args:
            until_stop: sleep on through the first Ctrl-C, for there is a unit to finish.
            until: asked ten times a second; wake up when it says so.
        """
        left = seconds
        while left > 0 and not (self.stop if until_stop else self.finish) and not until():
            self._sleep(min(SLICE_S, left))
            left -= SLICE_S

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to SIGINT, SIGTERM and SIGHUP inside the block, but to none that is ignored. Main thread only."""

        def pressed(_number: int, _frame: FrameType | None) -> None:
            self.press()

        def terminated(_number: int, _frame: FrameType | None) -> None:
            self.terminate()

        handlers = {signal.SIGINT: pressed, signal.SIGTERM: terminated, signal.SIGHUP: terminated}
        before = {number: signal.getsignal(number) for number in handlers}
        for number, handler in handlers.items():
            if number is not signal.SIGHUP or before[number] is not signal.SIG_IGN:  # nohup ignores it
                signal.signal(number, handler)
        try:
            yield
        finally:
            for number, former in before.items():
                signal.signal(number, former)
