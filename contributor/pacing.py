"""How fast bytes may go: pieces small enough to keep to a rate, and a pause after each.

A rate is asked for anew before every piece, so a limit that its owner sets in the middle of
an upload holds from the next piece on, and so does one that is lifted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["PIECE_MAX_BYTES", "PIECE_MIN_BYTES", "UNPACED", "Pacing", "pause_s", "piece_bytes"]

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
    """A rate that may change at any time.

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
