"""How often a hidden example may be used before it is not hidden any more.

A use is one answer that went out and depended on the example. Every answer tells a little
about the examples behind it, and whoever asks often enough can fit a model to them. An
example beyond its budget is not drawn again. When too few are left, the test says so and
wants a new pool; it never uses them silently.

How much is too much follows from three bounds. What an answer tells about a pool is at most
the logarithm of how many different answers are possible; asked of a random part of the pool,
it is also at most about that part times (possible answers - 1) (Blanc). And a number that is
chosen with so much information about N examples is on average off by at most
``spread * sqrt(2 * information / N)``, ``spread`` being the standard deviation of one example
(Russo & Zou; Xu & Raginsky). Uses add up, and so does what they tell. An example that nobody
asked about yet tells the truth whatever was asked before, so the budget is at least one use.

Source: Dwork et al. 2015, "Generalization in adaptive data analysis and holdout reuse",
https://arxiv.org/abs/1506.02629 (answers as information); Blanc 2023, "Subsampling suffices for
adaptive data analysis", https://arxiv.org/abs/2302.08661; Russo & Zou 2016,
https://arxiv.org/abs/1511.05219; Xu & Raginsky 2017, https://arxiv.org/abs/1705.07809.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Drawable", "Leak", "drawable", "expected_bias", "uses_allowed", "uses_of"]


@dataclass(frozen=True, slots=True)
class Leak:
    """What is assumed of a test's answers.

    Attributes:
        pool: examples in the pool. drawn: examples behind one answer.
        spread: standard deviation of what is measured of one example, in the test's unit.
        answers: how many different answers can go out; 2 is passed or not.
    """

    pool: int
    drawn: int
    spread: float
    answers: int


@dataclass(frozen=True, slots=True)
class Drawable:
    """What of a pool may still be drawn from.

    Attributes:
        places: ascending. enough: for one more draw. rounds_left: draws until it is not.
        reason: with the numbers, and what to do when it is not enough.
    """

    places: tuple[int, ...]
    enough: bool
    rounds_left: int
    reason: str


def uses_of(draws: Iterable[tuple[Sequence[int], int]]) -> Counter[int]:
    """How often each place was used: every draw with how many answers went out that depended on it."""
    uses = Counter[int]()
    for places, answers in draws:
        for place in places:
            uses[place] += answers
    return uses


def drawable(uses: Counter[int], pool: int, wanted: int, budget: int) -> Drawable:
    """The part of a pool within its budget.

    Args:
        uses: of each place so far. pool: examples in it. wanted: examples for one draw.
        budget: uses allowed an example.
    """
    places = tuple(place for place in range(pool) if uses[place] < budget)
    left = sum(budget - uses[place] for place in places)
    rounds_left = left // wanted if len(places) >= wanted else 0
    numbers = f"{len(places)} of {pool} examples were used fewer than {budget} times, a draw wants {wanted}"
    if len(places) < wanted:
        return Drawable(
            places, False, 0, f"{numbers}: the pool is used up, rotate it (put in examples nobody was scored on)"
        )
    return Drawable(places, True, rounds_left, f"{numbers}; enough for about {rounds_left} more")


def uses_allowed(leak: Leak, error: float) -> int:
    """The default budget: uses an example, so that adaptively chosen numbers are off by ``error`` on average at most.

    Args:
        error: in the test's unit, such as a fraction of its margin.
    """
    information = leak.pool * (error / leak.spread) ** 2 / 2
    by_parts = information / (leak.answers - 1)
    by_answers = information / math.log(leak.answers) * leak.drawn / leak.pool
    return max(1, math.floor(max(by_parts, by_answers)))


def expected_bias(leak: Leak, uses: float) -> float:
    """The bound turned round: how far off a number may be on average after so many uses an example."""
    asked = uses * leak.pool / leak.drawn
    information = min(uses * (leak.answers - 1), asked * math.log(leak.answers))
    return leak.spread * math.sqrt(2 * information / leak.pool)
