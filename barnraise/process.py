"""Processes that we start: they end with us, and they are ended whole.

Only Linux can tie a child's life to its parent's; elsewhere :func:`end_with_parent` does
nothing and a killed parent leaves its children to the operator.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Event

__all__ = ["end_with_parent", "interrupt_on_sigterm", "last_words", "stop_group", "stop_on_signals"]

PR_SET_PDEATHSIG = 1
GRACE_S = 10.0


def end_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when its parent dies. Call first thing in the child.

    Args:
        parent: process id of the parent at the time of starting, when known; if it is already gone,
            this process ends at once.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def last_words(error: Exception) -> None:
    """Say on standard error why this process ends; on a full disk nothing is said, and the exit code still tells."""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"barnraise: {error}\n".encode("utf-8", "replace"))


def stop_group(process: subprocess.Popen[bytes], grace_s: float = GRACE_S) -> int:
    """Ask a child, the leader of its own process group, to end; then end whatever is left of the group.

    Returns:
        the child's exit code.
    """
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def interrupt_on_sigterm() -> None:
    """Let SIGTERM do what Ctrl-C does, so that what was started is stopped on the way out. Main thread only."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def stop_on_signals(stop: Event) -> None:
    """Let SIGINT and SIGTERM set ``stop``. Main thread only."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
