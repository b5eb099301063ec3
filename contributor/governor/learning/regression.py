"""Bayesian linear regression that forgets: it returns to its prior, not to ignorance.

The posterior over weights is Gaussian, held as a precision matrix L and a vector h = L mean. Before each new pair both
are mixed with those of the prior, so old evidence fades by ``memory`` a look, and where nothing new arrives the model
ends at the prior. Plain exponential forgetting would let the precision run to zero there (wind-up), and the first
disturbance after a quiet hour would throw the weights anywhere.

D  weights

Source: Kulhavy and Zarrop 1993, "On a general concept of forgetting", International Journal of Control 58(4)
(stabilised forgetting); Bishop 2006, "Pattern Recognition and Machine Learning", section 3.3, for the posterior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Belief", "Estimate", "prior"]

NOISE_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is expected of a linear function of the weights, and the standard deviation of that."""

    mean: float
    sd: float

    @property
    def high(self) -> float:
        """What it exceeds once in six times."""
        return self.mean + self.sd


@dataclass(frozen=True, slots=True)
class Belief:
    """What is known of D weights.

    Attributes:
        precision, moment: L row by row, and h. prior_precision, prior_moment: the same before anything was seen.
        noise: variance of what is observed, of pairs of weight 1.
        memory: what a look leaves of earlier evidence, in (0, 1).
    """

    precision: tuple[float, ...]
    moment: tuple[float, ...]
    prior_precision: tuple[float, ...]
    prior_moment: tuple[float, ...]
    noise: float
    memory: float

    def see(self, x: tuple[float, ...], y: float, weight: float = 1.0) -> Belief:
        """After one more pair: ``y`` is the product of ``x`` and the weights, plus noise of variance noise / weight."""
        x_D = np.asarray(x)
        before = self.estimate(x)
        surprise = weight * (y - before.mean) ** 2
        noise = max(NOISE_LEAST, self.memory * self.noise + (1 - self.memory) * surprise)
        faded, fresh = self.memory, 1 - self.memory
        precision_DD = faded * _square(self.precision) + fresh * _square(self.prior_precision)
        moment_D = faded * np.asarray(self.moment) + fresh * np.asarray(self.prior_moment)
        precision_DD += np.outer(x_D, x_D) * (weight / noise)
        moment_D += x_D * (y * weight / noise)
        return replace(self, precision=_flat(precision_DD), moment=_flat(moment_D), noise=noise)

    def estimate(self, x: tuple[float, ...]) -> Estimate:
        """What the product of ``x`` and the weights is believed to be."""
        x_D = np.asarray(x)
        precision_DD = _square(self.precision)
        mean_D, spread_D = np.linalg.solve(precision_DD, np.stack([np.asarray(self.moment), x_D], axis=1)).T
        return Estimate(float(x_D @ mean_D), math.sqrt(max(0.0, float(x_D @ spread_D))))


def prior(means: tuple[float, ...], sds: tuple[float, ...], *, noise: float, memory: float) -> Belief:
    """What is believed of the weights before anything is seen: independent, with these means and deviations."""
    precision_DD = np.diag([1.0 / sd**2 for sd in sds])
    precision, moment = _flat(precision_DD), _flat(precision_DD @ np.asarray(means))
    return Belief(precision, moment, precision, moment, noise, memory)


def _square(flat: tuple[float, ...]) -> np.ndarray:
    size = math.isqrt(len(flat))
    return np.asarray(flat).reshape(size, size)


def _flat(array: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in array.ravel())
