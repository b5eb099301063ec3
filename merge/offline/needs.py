"""What a strategy asks of an offline merge: what is measured first, how often files are read, whether torch is needed.

K  models
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from barnraise import native
from merge.offline.job import Treatment
from merge.strategies.rule import PrunesUpdates, SumsUpdates, WeighsUpdates

__all__ = ["CutsBySize", "needs_gram", "needs_magnitudes", "needs_tensors", "passes", "sum_factors"]


@runtime_checkable
class CutsBySize(Protocol):
    """A strategy that knows between which elements of a tensor, ordered by size, it cuts."""

    def cuts(self, elements: int) -> tuple[int, ...]:
        """Numbers of elements, counted from the largest."""
        ...


def needs_gram(treatment: Treatment) -> bool:
    rules = treatment.rules
    weighs = isinstance(rules.strategy, WeighsUpdates) or bool(rules.before) or rules.clip_norm_at is not None
    return treatment.take is None and weighs


def needs_magnitudes(treatment: Treatment) -> bool:
    strategy = treatment.rules.strategy
    return treatment.take is None and isinstance(strategy, PrunesUpdates) and strategy.by_magnitude


def passes(treatment: Treatment) -> int:
    """How often a tensor is read: to be measured, to be measured exactly, to be merged."""
    magnitudes = needs_magnitudes(treatment)
    exactly = magnitudes and isinstance(treatment.rules.strategy, CutsBySize)
    return 1 + int(needs_gram(treatment) or magnitudes) + int(exactly)


def sum_factors(treatment: Treatment) -> list[float] | None:
    """What every one of the K models is multiplied by, where they are only added up; else None.

    Raises:
        MergeError: the weights cannot be normalised.
    """
    strategy = treatment.rules.strategy
    if treatment.take is not None or needs_gram(treatment) or not isinstance(strategy, SumsUpdates):
        return None
    return strategy.factors(treatment.weights)


def needs_tensors(treatment: Treatment) -> bool:
    """Whether torch must be there: not to copy, nor to add up where the compiled loops are."""
    return treatment.take is None and not (native.available() and sum_factors(treatment) is not None)
