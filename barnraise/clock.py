"""The clock that processes hand to whatever decides; nothing that decides reads it itself. And times in words."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from barnraise.errors import UsageError

__all__ = ["lasting", "millis_of", "now_ms"]


def now_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def millis_of(date: str) -> int:
    """A date or time that somebody typed, in UTC where it does not say, in milliseconds since the epoch.

    Raises:
        UsageError: it is none.
    """
    try:
        found = datetime.fromisoformat(date)
    except ValueError as error:
        raise UsageError(f"{date[:40]!a} is no date; one looks like 2026-11-01 or 2026-11-01T14:30") from error
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def lasting(milliseconds: int) -> str:
    """A length of time in words: seconds, then minutes, then hours and minutes."""
    seconds = max(0, milliseconds) // 1000
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h {seconds % 3600 // 60} min"
