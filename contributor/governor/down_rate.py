"""How fast a node fetches: after every piece, all of its connections together wait as the rate asks.

A piece that has arrived cannot be undone, so the wait comes after it; meanwhile nobody reads, and the network's own
flow control holds the sender back. The rate is asked for anew at each piece.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["DownRate"]


@dataclass
class DownRate:
    """A rate that several connections share, and that may change at any time.

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
