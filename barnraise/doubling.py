"""Pauses between attempts, each twice as long as the one before, up to a longest one.

Who tries again decides the rest: what is forgiven, when to give up, how much of a pause is left to chance.
"""

from __future__ import annotations

__all__ = ["doubled_s"]

DOUBLINGS_MAX = 30
"""More would leave what a float holds, and every cap behind."""


def doubled_s(failures: int, *, first_s: float, longest_s: float) -> float:
    """The pause after ``failures`` failures in a row, at least 1."""
    return min(longest_s, first_s * 2.0 ** min(failures - 1, DOUBLINGS_MAX))
