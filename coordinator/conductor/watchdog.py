"""End a process that hangs, with the stacks of its threads in its log; its supervisor starts it again.

A hang is not a crash, and nothing outside can tell it from work. So the process promises to
be heard from again in time, and Python's own fault handler, a thread that needs no lock of
ours, keeps it to that.
"""

from __future__ import annotations

import faulthandler

__all__ = ["START_S", "TURN_S", "promise", "release"]

START_S = 60.0
"""Starting Ray takes some seconds; on a busy machine some tens."""

TURN_S = 600.0
"""A turn of the conductor waits for tasks a fraction of a second; publishing a large model takes minutes."""


def promise(seconds: float) -> None:
    """Be heard from again (:func:`promise`, :func:`release`) within ``seconds``, or be ended with exit code 1."""
    faulthandler.dump_traceback_later(seconds, exit=True)


def release() -> None:
    """Nothing is promised any more."""
    faulthandler.cancel_dump_traceback_later()
