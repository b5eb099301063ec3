"""How fast bytes may go: up in pieces small enough to keep to a rate, down as they come, with a pause after each.

A rate is asked for anew at every piece, so a limit that its owner sets in the middle of a
transfer holds from the next piece on, and so does one that is lifted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["PIECE_MAX_BYTES", "PIECE_MIN_BYTES", "UNPACED", "Pacing", "piece_bytes"]

PIECE_MAX_BYTES = 1024 * 1024
PIECE_MIN_BYTES = 16 * 1024
"""Smaller ones would be all headers; at 1 kB/s one of these takes 16 s, which a gateway still waits for."""


def piece_bytes(rate: float | None) -> int:
    """How much to send at once: about what a second holds, between 16 KiB and 1 MiB."""
    return PIECE_MAX_BYTES if rate is None else int(min(max(rate, PIECE_MIN_BYTES), PIECE_MAX_BYTES))


@dataclass
class Pacing:
    """A rate that several connections share, and that may change at any time.

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

    def after(self, size_bytes: int, began_s: float | None = None) -> None:
        """Wait after a piece, so that it and the pause together keep to the rate.

        Args:
            began_s: of the clock, when the piece was begun; None of one that has just arrived.
        """
        rate = self.rate()
        if rate is None:
            return
        with self._lock:
            now_s = self.clock_s()
            self._free_s = max(self._free_s, now_s if began_s is None else began_s) + size_bytes / rate
            wait_s = self._free_s - now_s
        if wait_s > 0:
            self.sleep(wait_s)


UNPACED = Pacing(lambda: None, lambda _seconds: None)
