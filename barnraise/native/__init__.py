"""Compiled loops where memory speed decides, and how they are found, switched off and shared out.

The loops live in ``src/*.c``, one file a subject, and are compiled into one shared library
when Barnraise is installed. They are optional: wherever one is used, plain torch or numpy
stands beside it and gives the same bits, so a machine without a compiler loses time only.
A loop works on the range of elements that it is given and knows nothing of threads;
:func:`spread` shares ranges out. Calls through ctypes release the interpreter's lock.

Every loop keeps to the rules of the project's arithmetic: float32 multiplies and adds apart
(the compiler is told not to contract them), float64 reductions in a fixed order.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache
from pathlib import Path

__all__ = ["LIBRARY", "available", "disabled", "library", "spread", "threads", "use_threads"]

LIBRARY = Path(__file__).with_name("_kernels.so")
ABI = 7  # raised whenever a function's arguments change; a library of another number is not used
PIECES = 4  # ranges for each thread

_allowed: ContextVar[bool] = ContextVar("barnraise_native_allowed", default=True)
_most_threads: ContextVar[int | None] = ContextVar("barnraise_native_threads", default=None)


def library() -> ctypes.CDLL | None:
    """The compiled loops, or None: not built, built for another version, or switched off."""
    return _load() if _allowed.get() else None


def available() -> bool:
    return library() is not None


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Use the plain implementations within this context; the results are the same."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)


def threads() -> int:
    """How many threads a loop may use: ``OMP_NUM_THREADS`` as every numeric library reads it, else the cores."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = min(cores, _most_threads.get() or cores)
    return max(1, min(int(wanted), most)) if wanted.isdecimal() else most


def use_threads(most: int) -> None:
    """Let loops that the calling thread starts use at most ``most`` threads.

    For a thread that is one of several which share the work out among themselves.
    """
    _most_threads.set(most)


def spread(work: Callable[[int, int], None], size: int, grain: int, pieces: int = PIECES) -> None:
    """Call ``work(start, end)`` on ranges that cover ``[0, size)``, on several threads.

    The ranges begin at multiples of ``grain``, and what is computed must not depend on how
    they are cut. There are ``pieces`` for each thread, and a thread that is done takes the
    next, so one that the system holds up holds up little. An error ends its thread, the others go
    on, and the first one is raised when all have ended.
    """
    blocks = -(-size // grain)
    count = min(threads(), blocks)
    pieces = 1 if count == 1 else min(blocks, count * pieces)
    upcoming = itertools.count()

    def take_turns() -> None:
        while (piece := next(upcoming)) < pieces:
            work(grain * (blocks * piece // pieces), min(size, grain * (blocks * (piece + 1) // pieces)))

    futures = [_pool(count - 1).submit(take_turns) for _ in range(1, count)]
    try:
        take_turns()
        # Nothing is left for what has not begun, which may wait long behind the work of other callers.
        futures = [future for future in futures if not future.cancel()]
    finally:
        for future in futures:
            future.exception()
    for future in futures:
        future.result()


@cache
def _load() -> ctypes.CDLL | None:
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
    except OSError:
        return None
    try:
        found = loaded.barnraise_abi()
    except AttributeError:
        return None
    return loaded if found == ABI else None


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="barnraise-native")
