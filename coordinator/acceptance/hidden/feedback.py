"""What goes out of a score: rounded to what it can carry, and no more.

Digits beyond the standard error say nothing about a model and something about the hidden
examples. So every number that leaves the coordinator, in a verdict's reason, on a card or at
the gateway, is rounded to a resolution that follows from how many examples are behind it.
Numbers in the ledger's private part stay exact: the decision is made with those.

The ladder goes further, for a number that is asked for again and again: it shows the best
score so far, and moves only when a new one is better by a whole step.

Source: Blum & Hardt 2015, "The Ladder", https://arxiv.org/abs/1502.04585.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Ladder",
    "answers_of",
    "ladder",
    "ladder_step",
    "p_told",
    "resolution",
    "rounded",
    "rounded_summary",
    "step_of",
    "told",
]

_P_SHOWN = (0.001, 0.01, 0.05, 0.1, 1.0)
_ROUNDED = ("mean", "base_mean", "effect", "low", "high", "before", "now", "base", "alone", "change")


def resolution(spread: float, examples: int) -> float:
    """The step to which a mean over ``examples`` is rounded: its standard error, up to the next 1, 2 or 5.

    Args:
        spread: standard deviation of one example, known beforehand and not taken from the examples at hand.
    """
    assert spread > 0, spread
    assert examples > 0, examples
    return _at_least(spread / math.sqrt(examples))


def step_of(error: float) -> float:
    """The step to which a number with this standard error is rounded: the next 1, 2 or 5 times a power of ten."""
    return _at_least(max(error, 1e-9))


def p_told(p: float) -> str:
    """A p-value as it may go out, such as ``<= 0.01``."""
    level = next((level for level in _P_SHOWN[:-1] if p <= level), None)
    return f"> {_P_SHOWN[-2]:g}" if level is None else f"<= {level:g}"


def ladder_step(examples: int, asked: int, spread: float = 0.5) -> float:
    """The ladder's step for ``asked`` adaptive questions: the cube root of ``log(asked * examples) / examples``.

    Its authors' bound for numbers between 0 and 1, whose standard deviation is 0.5 at most; others are scaled.
    """
    return _at_least(2 * spread * (math.log(asked * examples) / examples) ** (1 / 3))


def rounded(value: float, step: float) -> float:
    """The multiple of ``step`` nearest to ``value``; a NaN or an infinity stays."""
    if not math.isfinite(value):
        return value
    digits = max(0, -math.floor(math.log10(step)))
    return round(round(value / step) * step, digits) + 0.0  # no negative zero


def told(value: float, step: float, unit: str) -> str:
    """A change in words, such as ``-0.04 bits/byte (to 0.02)``."""
    digits = max(0, -math.floor(math.log10(step)))
    return f"{rounded(value, step):+.{digits}f} {unit} (to {step:g})"


def answers_of(span: float, step: float) -> int:
    """How many different answers go out, of values within a ``span`` rounded to ``step``, each passed or not."""
    return 2 * (round(span / step) + 1)


def rounded_summary(row: Mapping[str, Any], step: float) -> dict[str, Any]:
    """The row of a test or of a check as it may go out: means and bounds to ``step``, p-values to the next of a few."""
    shown = dict(row)
    for key in _ROUNDED:
        if isinstance(shown.get(key), float):
            shown[key] = rounded(shown[key], step)
    for key in ("p", "p_holm"):
        if isinstance(shown.get(key), float):
            shown[key] = next((level for level in _P_SHOWN if shown[key] <= level), 1.0)
    return shown


@dataclass(frozen=True, slots=True)
class Ladder:
    """What was shown last.

    Attributes:
        shown: best loss, rounded; None before the first. moved: whether the last score changed it.
    """

    shown: float | None = None
    moved: bool = False
    reason: str = "nothing was scored yet"


def ladder(before: Ladder, loss: float, step: float) -> Ladder:
    """Show ``loss`` if it is lower than what is shown by more than ``step``; otherwise what was shown stays."""
    if before.shown is not None and not loss < before.shown - step:
        return Ladder(before.shown, False, f"not better than {before.shown:g} by more than {step:g}")
    shown = rounded(loss, step)
    first = "the first score" if before.shown is None else f"better than {before.shown:g} by more than {step:g}"
    return Ladder(shown, True, f"{shown:g}: {first}")


def _at_least(value: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below ``value``."""
    power = 10.0 ** math.floor(math.log10(value))
    digit = next((digit for digit in (1, 2, 5) if digit * power >= value * (1 - 1e-12)), 10)
    return float(f"{digit * power:.12g}")
