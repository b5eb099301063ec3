"""What noisy training has cost: from noise, sampling and steps to the epsilon of differential privacy.

A step sees each example with probability ``rate``, and adds to the sum of clipped gradients Gaussian noise of ``noise``
times the clipping bound: a *sampled Gaussian mechanism*. Its Renyi divergence of order a, between data with and
without one example, is at most

    1 / (a - 1) * ln sum_k C(a, k) (1 - q)^(a - k) q^k exp((k^2 - k) / (2 s^2)),     k = 0 .. a

for whole a > 1, with rate q and noise s. Divergences of steps add up, whatever each of them chose after seeing the
others. From them follows, for any order, an epsilon that holds but for a probability of delta:

    epsilon = divergence + ln((a - 1) / a) - (ln delta + ln a) / (a - 1)

The best of a list of orders is taken, so what is stated is never too small, only a little too large.

Source: divergence: Mironov, Talwar and Zhang 2019, https://arxiv.org/abs/1908.10530, section 3.3;
conversion: Canonne, Kamath and Steinke 2020, https://arxiv.org/abs/2004.00010, proposition 12.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["ORDERS", "Spent", "divergences", "epsilon_of", "noise_for"]

ORDERS = (*range(2, 64), 72, 80, 96, 112, 128, 160, 192, 256, 384, 512, 1024)
NOISE_MIN, NOISE_MAX = 0.2, 1e6


@dataclass(frozen=True, slots=True)
class Spent:
    """Steps that were alike.

    Attributes:
        rate: probability that a step sees an example, in (0, 1]. noise: standard deviation over clipping bound.
    """

    rate: float
    noise: float
    steps: int

    def __post_init__(self) -> None:
        if not (0 < self.rate <= 1 and self.noise > 0 and self.steps >= 0):
            raise ValueError(f"{self} cannot be accounted for: a rate in (0, 1] and noise above zero were expected")


@lru_cache(maxsize=256)
def divergences(rate: float, noise: float) -> tuple[float, ...]:
    """Of one step, for each of ``ORDERS``."""
    return tuple(_divergence(order, rate, noise) for order in ORDERS)


def epsilon_of(spent: Iterable[Spent], delta: float) -> float:
    """The epsilon of all steps together, with ``delta`` in (0, 1); 0 for no steps."""
    used = [part for part in spent if part.steps > 0]
    if not used:
        return 0.0
    totals = [
        math.fsum(part.steps * divergences(part.rate, part.noise)[index] for part in used)
        for index in range(len(ORDERS))
    ]
    bounds = [_epsilon(order, total, delta) for order, total in zip(ORDERS, totals, strict=True)]
    return max(0.0, min(bounds))


def noise_for(epsilon: float, delta: float, rate: float, steps: int, before: Sequence[Spent] = ()) -> float:
    """The least noise, to a thousandth of itself, with which ``steps`` more steps stay within ``epsilon``.

    Raises:
        ValueError: no noise is enough, for what was spent before is too much already.
    """

    def fits(noise: float) -> bool:
        return epsilon_of((*before, Spent(rate, noise, steps)), delta) <= epsilon

    if not fits(NOISE_MAX):
        raise ValueError(f"an epsilon of {epsilon:g} leaves nothing for {steps} more steps")
    low, high = NOISE_MIN, NOISE_MAX
    if fits(low):
        return low
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _divergence(order: int, rate: float, noise: float) -> float:
    if rate == 1.0:
        return order / (2 * noise**2)
    terms = [
        _log_choose(order, k) + (order - k) * math.log1p(-rate) + k * math.log(rate) + (k * k - k) / (2 * noise**2)
        for k in range(order + 1)
    ]
    highest = max(terms)
    return max(0.0, (highest + math.log(math.fsum(math.exp(term - highest) for term in terms))) / (order - 1))


def _log_choose(of: int, some: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)


def _epsilon(order: int, divergence: float, delta: float) -> float:
    return divergence + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
