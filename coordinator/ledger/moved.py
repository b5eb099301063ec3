"""Deciding on what the ledger says, and once more if somebody recorded something meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from barnraise.errors import StorageError

__all__ = ["LedgerMovedError", "until_recorded"]

ATTEMPTS = 50
A = TypeVar("A")


class LedgerMovedError(RuntimeError):
    """Something was recorded since the facts of a decision were read: read and decide again."""


def until_recorded(what: str, attempt: Callable[[], A]) -> A:
    """What an attempt leads to that nobody came between.

    Args:
        what: it is about, for the refusal.
        attempt: reads facts, decides and records, and raises :class:`LedgerMovedError` if it came too late.

    Raises:
        StorageError: somebody came between every time; nothing was recorded.
    """
    for _ in range(ATTEMPTS):
        try:
            return attempt()
        except LedgerMovedError:
            continue
    raise StorageError(f"the ledger is too busy to {what}; nothing was recorded. Try again.")
