"""Memory that a thread has once and keeps: new memory costs more to get than to fill."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

__all__ = ["room"]

_kept = threading.local()


@contextmanager
def room(size_bytes: int) -> Iterator[NDArray[np.uint8]]:
    """uint8 [size_bytes], with anything in it; nobody else has it until the block is left."""
    free: list[NDArray[np.uint8]] = _kept.__dict__.setdefault(str(size_bytes), [])
    found = free.pop() if free else np.empty(size_bytes, dtype=np.uint8)
    try:
        yield found
    finally:
        free.append(found)
