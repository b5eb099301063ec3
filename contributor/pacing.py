"""How fast bytes may go: up in pieces small enough to keep to a rate, down as they come, with a pause after each.

A rate is asked for anew at every piece, so a limit that its owner sets in the middle of a
transfer holds from the next piece on, and so does one that is lifted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["PIECE_MAX_BYTES", "PIECE_MIN_BYTES", "UNPACED", "DownRate", "Pacing", "pause_s", "piece_bytes"]

PIECE_MAX_BYTES = 1024 * 1024
PIECE_MIN_BYTES = 16 * 1024
"""Smaller ones would be all headers; at 1 kB/s one of these takes 16 s, which a gateway still waits for."""


def piece_bytes(rate: float | None) -> int:
    """How much to send at once: about what a second holds, between 16 KiB and 1 MiB."""
    return PIECE_MAX_BYTES if rate is None else int(min(max(rate, PIECE_MIN_BYTES), PIECE_MAX_BYTES))


def pause_s(sent_bytes: int, took_s: float, rate: float | None) -> float:
    """How long to wait after a piece so that it and the pause together keep to ``rate`` bytes per second."""
    return 0.0 if rate is None else max(0.0, sent_bytes / rate - took_s)


@dataclass(frozen=True)
class Pacing:
    """A rate of sending that may change at any time.

    Attributes:
        rate: bytes per second; None is no limit.
        sleep: takes seconds; wakes up early when the node is told to stop.
    """

    rate: Callable[[], float | None]
    sleep: Callable[[float], None]
    clock_s: Callable[[], float] = time.monotonic

    def after(self, sent_bytes: int, began_s: float) -> None:
        """Wait as long as the rate asks for, after bytes that were begun at ``began_s`` of the clock."""
        wait_s = pause_s(sent_bytes, self.clock_s() - began_s, self.rate())
        if wait_s > 0:
            self.sleep(wait_s)


UNPACED = Pacing(lambda: None, lambda _seconds: None)


@dataclass
class DownRate:
    """A rate of fetching that several connections share, and that may change at any time.

    A piece that has arrived cannot be undone, so the wait comes after it; meanwhile nobody reads,
    and the network's own flow control holds the sender back.

    Attributes:
        rate: bytes per second; None is no limit.
        sleep: takes seconds; wakes up early when the node is told to stop.
    """

    rate: Callable[[], float | None]
    sleep: Callable[[float], None]
    clock_s: Callable[[], float] = time.monotonic
    _free_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fetched(self, size_bytes: int) -> None:
        """Wait after a piece of this size."""
        rate = self.rate()
        if rate is None:
            return
        with self._lock:
            now_s = self.clock_s()
            self._free_s = max(now_s, self._free_s) + size_bytes / rate
            wait_s = self._free_s - now_s
        self.sleep(wait_s)
