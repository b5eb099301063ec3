"""How much of a law is tried: enough for every day, or all of it.

``make test`` takes the short way and the same one every time, so that a test which fails does so again.
``make laws`` sets ``BARNRAISE_LAWS``, takes the long way, and draws anew what Hypothesis draws.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["ALL", "examples", "moments"]

T = TypeVar("T")

ALL = bool(os.environ.get("BARNRAISE_LAWS"))


def examples(few: int, many: int = 0) -> int:
    """How many examples Hypothesis tries: ``few``, or ``many`` (ten times ``few``) under ``make laws``."""
    return (many or 10 * few) if ALL else few


def moments(every: Sequence[T], few: int, seed: int = 0) -> list[T]:
    """Of all moments at which a power cut could come, or of all orders of arrival, those that are tried.

    All of them under ``make laws``; else the first, the last and ``few - 2`` from between, always the same ones.
    """
    if ALL or len(every) <= few:
        return list(every)
    between = random.Random(seed).sample(range(1, len(every) - 1), few - 2)
    return [every[at] for at in (0, *sorted(between), len(every) - 1)]
