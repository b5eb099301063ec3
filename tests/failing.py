"""Tasks that do not come to their end, for workers of a real Ray; a module, so that workers can import it."""

from __future__ import annotations

import os
import time

import numpy as np

from coordinator.conductor.limits import memory_limit


def crashes() -> None:
    """The process ends at once, as after a segmentation fault."""
    os._exit(3)


def hangs() -> None:
    """Longer than anybody waits."""
    time.sleep(3600)


def takes_memory(mb: int) -> int:
    """Ask for twice as much memory as was said."""
    with memory_limit(mb, "a greedy test"):
        return int(np.ones(2 * mb << 20, dtype=np.uint8).sum())


def fails() -> None:
    raise ZeroDivisionError("a mistake in a test")


def answers() -> str:
    return "measured"
