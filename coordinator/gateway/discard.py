"""Bytes that anybody may send to see how fast they arrive. They are counted and thrown away.

Bounded three ways: in one request, at one time, and by an allowance for all strangers together that refills evenly, so
measuring cannot keep the gateway from its work.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable

from barnraise.errors import OversizedMessageError, QuotaExceededError
from barnraise.protocol import Discarded

__all__ = ["DISCARD_MAX_BYTES", "Allowance", "Discarding"]

DISCARD_MAX_BYTES = 1 << 20
AT_A_TIME = 4
PER_MINUTE_BYTES = 32 << 20


class Allowance:
    """A bucket of bytes that refills evenly. Safe to share between threads."""

    def __init__(self, per_minute: int, now_ms: int) -> None:
        self._size, self._left, self._at_ms = per_minute, float(per_minute), now_ms
        self._lock = threading.Lock()

    def take(self, size_bytes: int, now_ms: int) -> float:
        """Take bytes out; the seconds after which they would be there, and then none were taken."""
        with self._lock:
            gained = max(0, now_ms - self._at_ms) * self._size / 60_000
            self._left, self._at_ms = min(self._size, self._left + gained), max(now_ms, self._at_ms)
            if self._left < size_bytes:
                return (size_bytes - self._left) * 60 / self._size
            self._left -= size_bytes
            return 0.0


class Discarding:
    """Takes bytes in and throws them away."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms, self._open = now_ms, 0
        self._allowance = Allowance(PER_MINUTE_BYTES, now_ms())

    async def take(self, announced: int | None, pieces: AsyncIterator[bytes]) -> Discarded:
        """Count a body.

        Args:
            announced: its length, which must be said beforehand.

        Raises:
            OversizedMessageError: no length, or more than 1 MiB, announced or sent.
            QuotaExceededError: others measure just now; with when to try again.
        """
        if announced is None or announced > DISCARD_MAX_BYTES:
            raise OversizedMessageError(f"say a Content-Length of at most {DISCARD_MAX_BYTES:,} bytes")
        wait_s = self._allowance.take(announced, self._now_ms())
        if wait_s or self._open >= AT_A_TIME:
            raise QuotaExceededError(f"others measure their uploads just now; try again in {max(1.0, wait_s):.0f} s")
        self._open += 1
        try:
            size = 0
            async for piece in pieces:
                size += len(piece)
                if size > announced:
                    raise OversizedMessageError(f"{announced:,} bytes were announced and more came")
            return Discarded(size_bytes=size)
        finally:
            self._open -= 1
