"""How the inner learning rate moves over a run: up in the first rounds, down towards the end.

One factor for a whole round, the same for every contributor: a coordinator can say it with the lease, and a machine
that trains alone can follow it as well.

Source: cosine decay, Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983; a stable stretch before a linear
decay (WSD), Hu et al. 2024, https://arxiv.org/abs/2404.06395.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["CONSTANT", "COSINE", "STABLE", "Rates"]


@dataclass(frozen=True)
class Rates:
    """Factors of the peak rate, in (0, 1].

    Attributes:
        rising: share of the rounds in which the factor climbs linearly to 1; at least one step if not 0.
        falling: share of the rounds, the last ones, in which it falls to ``lowest``.
        lowest: factor of the last round.
        shape: of the fall.
    """

    rising: float = 0.0
    falling: float = 0.0
    lowest: float = 1.0
    shape: Literal["linear", "cosine"] = "linear"

    def factor(self, number: int, rounds: int) -> float:
        """Of round ``number``, which counts from 0."""
        assert 0 <= number < rounds, (number, rounds)
        risen = (number + 1) / (math.ceil(self.rising * rounds) + 1)
        length = self.falling * rounds
        fallen = max(0.0, number + 1 - (rounds - length)) / length if length else 0.0
        if self.shape == "cosine":
            fallen = (1 - math.cos(math.pi * fallen)) / 2
        return min(1.0, risen) * (1 - (1 - self.lowest) * fallen)

    def words(self) -> str:
        """For a headline."""
        if not self.rising and not self.falling:
            return "constant"
        how = {"linear": "linearly", "cosine": "as a cosine"}[self.shape]
        return (
            f"rising in the first {self.rising:.0%} of the rounds and falling {how} to {self.lowest:g} of its peak "
            f"in the last {self.falling:.0%}"
        )


CONSTANT = Rates()
COSINE = Rates(rising=0.05, falling=0.95, lowest=0.1, shape="cosine")
STABLE = Rates(rising=0.05, falling=0.3, lowest=0.1)
