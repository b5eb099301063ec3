"""How far a merge is: a bar on a terminal, a line every tenth when piped, nothing with ``--json``.

It goes to standard error, so that standard output holds the result alone.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["reporting"]

LINES = 10


@contextmanager
def reporting(total_bytes: int, *, as_json: bool) -> Iterator[Callable[[int], None]]:
    """A function to tell how many more bytes were read; any thread may call it."""
    if as_json:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(total_bytes) as advance:
            yield advance
    else:
        yield _Lines(total_bytes).advance


@contextmanager
def _bar(total_bytes: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("merging", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as progress:
        task = progress.add_task("", total=total_bytes)
        yield lambda size_bytes: progress.advance(task, size_bytes)


class _Lines:
    def __init__(self, total_bytes: int) -> None:
        self._total = total_bytes
        self._read = 0
        self._told = 0
        self._start_s = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, size_bytes: int) -> None:
        with self._lock:
            self._read += size_bytes
            reached = LINES * self._read // max(1, self._total)
            if reached <= self._told:
                return
            self._told = reached
            rate = self._read / max(1e-3, time.monotonic() - self._start_s)
            print(
                f"merging: {100 * reached // LINES}%, {self._read / 1e9:.2f} of {self._total / 1e9:.2f} GB read, "
                f"{rate / 1e9:.2f} GB/s",
                file=sys.stderr,
                flush=True,
            )
