"""How a person stops a node: once to finish the unit, twice to stop at the next step.

    SIGINT             finish what was begun, send it, then stop
    SIGINT again       stop at the step boundary with a checkpoint
    SIGTERM            the same as the second SIGINT
    SIGINT once more   leave at once; everything on disk is consistent anyway

The handlers only set flags: a lock taken in a handler could be one that the interrupted
code already holds.
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
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self.finish = False
        self.stop = False
        self._sleep = sleep

    def press(self) -> None:
        """One Ctrl-C.

        Raises:
            KeyboardInterrupt: it was the third.
        """
        if self.stop:
            raise KeyboardInterrupt
        self.stop = self.finish
        self.finish = True

    def terminate(self) -> None:
        """A request to be gone soon, as an init system or a batch queue makes it."""
        self.finish = self.stop = True

    def wait(self, seconds: float, *, until_stop: bool = False) -> None:
        """Sleep, but wake up early once a stop is asked for.

        Args:
            until_stop: sleep on through the first Ctrl-C, for there is a unit to finish.
        """
        left = seconds
        while left > 0 and not (self.stop if until_stop else self.finish):
            self._sleep(min(SLICE_S, left))
            left -= SLICE_S

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to SIGINT and SIGTERM inside the block. Main thread only."""

        def pressed(_number: int, _frame: FrameType | None) -> None:
            self.press()

        def terminated(_number: int, _frame: FrameType | None) -> None:
            self.terminate()

        before = signal.signal(signal.SIGINT, pressed), signal.signal(signal.SIGTERM, terminated)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before[0])
            signal.signal(signal.SIGTERM, before[1])
