"""Many runs of a test in batches at once, on differences drawn from distributions with a known mean.

R  runs
N  examples
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.acceptance.statistics.sequential import SequentialTest

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int], float], Array]
"""Random numbers, shape [R, N], mean worsening -> differences."""

AT_ONCE = 500


@dataclass(frozen=True)
class Outcomes:
    """What became of R runs.

    Attributes:
        accepted: bool [R]. on_evidence: bool [R], rejected before examples ran out. n: int [R], examples looked at.
    """

    accepted: NDArray[np.bool_]
    on_evidence: NDArray[np.bool_]
    n: NDArray[np.int64]


def answers(differ: float) -> Draw:
    """Right and wrong: ``differ`` of the answers flip, or as many as it takes for the mean."""

    def draw(random: np.random.Generator, shape: tuple[int, int], mean: float) -> Array:
        flips = max(differ, abs(mean))
        lost, gained = (flips + mean) / 2, (flips - mean) / 2
        point = random.random(shape)
        return np.where(point < lost, 1.0, 0.0) - np.where(point >= 1 - gained, 1.0, 0.0)

    return draw


def heavy_tails(spread: float) -> Draw:
    """Bits a byte, from Student's t with 5 degrees of freedom, of that standard deviation."""

    def draw(random: np.random.Generator, shape: tuple[int, int], mean: float) -> Array:
        return np.asarray(mean + spread * np.sqrt(3 / 5) * random.standard_t(5, shape))

    return draw


def skewed(spread: float) -> Draw:
    """Bits a byte: many examples improve a little, few worsen much (exponential)."""

    def draw(random: np.random.Generator, shape: tuple[int, int], mean: float) -> Array:
        return np.asarray(mean + spread * (random.standard_exponential(shape) - 1))

    return draw


def disasters(share: float, loss: float) -> Draw:
    """Bits a byte: ``share`` of the examples worsen by ``loss``, all others by the same small amount."""

    def draw(random: np.random.Generator, shape: tuple[int, int], mean: float) -> Array:
        hit = random.random(shape) < share
        return np.where(hit, loss, (mean - share * loss) / (1 - share)) + 0.01 * random.standard_normal(shape)

    return draw


def simulate(test: SequentialTest, draw: Draw, mean: float, runs: int, seed: int) -> Outcomes:
    """Run a test ``runs`` times on fresh differences of that mean; batches are counted whole."""
    random = np.random.default_rng(seed)
    parts = [
        outcomes(test, draw(random, (min(AT_ONCE, runs - start), test.largest), mean))
        for start in range(0, runs, AT_ONCE)
    ]
    return Outcomes(
        np.concatenate([part.accepted for part in parts]),
        np.concatenate([part.on_evidence for part in parts]),
        np.concatenate([part.n for part in parts]),
    )


def outcomes(test: SequentialTest, worsening_RN: Array) -> Outcomes:
    """What :meth:`SequentialTest.decide` comes to, batch after batch, for every row."""
    enough = test.log_money_against_worse(worsening_RN, test.margin) >= np.log(1 / test.alpha)
    harm = test.log_money_against_no_worse(worsening_RN) >= np.log(1 / test.beta)
    accepted_at, rejected_at = _first(enough), _first(harm)
    accepted = (accepted_at < rejected_at) & (accepted_at < test.largest)
    on_evidence = (rejected_at <= accepted_at) & (rejected_at < test.largest)
    looked = np.minimum(accepted_at, rejected_at) + 1
    return Outcomes(accepted, on_evidence, np.minimum(-(-looked // test.batch) * test.batch, test.largest))


def _first(true_RN: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(true_RN.any(axis=1), true_RN.argmax(axis=1), true_RN.shape[1])
