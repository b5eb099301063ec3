"""Batch after batch: stop looking at examples as soon as the answer is sure, at a stated error rate.

Two bets are placed on the differences. One wins when the candidate is not worse by the margin, the
other when it is worse at all; whoever bets against the truth is expected to win nothing, and makes 1
into 20 with a chance of 1 in 20 at most, however often one looks (Ville's inequality). So:

    money of the first bet  >= 1 / alpha    accept    a candidate worse by the margin: chance alpha
    money of the second bet >= 1 / beta     reject    a candidate no worse at all:     chance beta
    ``largest`` examples, neither           reject    not shown, as in a test of fixed size
    else                                    go on

Between "not worse" and "worse by the margin" either answer may come first.

Money is an e-process; the inverse of the most it ever was is a p-value at any time of stopping, and
may go through Holm's correction with those of other tests. What could not be bet against yet is a
confidence sequence: all its intervals hold together. The stakes are fixed shares: all, a half, a
quarter and so on of what an example can cost, equally much money on each. The smallest is the one
that could still win with ``largest`` examples. No stake depends on the examples, so the money does
not depend on how they were cut into batches.

Differences must be bounded: one example counts for at most ``reach`` either way. Of 0 and 1 that
is exact. Otherwise what is won from one example is cut off there, and what is lost is not: that
makes either answer harder to reach, never easier. What remains is an assumption: no probability on
losses beyond ``reach`` that nobody has seen. So the error rates are those for the mean in which no
example counts for more than ``reach``; rare disasters can escape, as they can a test of fixed size,
but one that is seen takes most of the money.

Examples must come in an order that has nothing to do with their content, as that of a digest.

R  runs, in simulations; left out for one
N  examples, in their order
S  stakes

Source: Waudby-Smith & Ramdas 2023, https://arxiv.org/abs/2010.09686 (bets on a bounded mean, and a
grid of them); Ville 1939; Tavyrikov, Goeman & de Heide 2025, https://arxiv.org/abs/2501.19360 (the
most money there ever was, in corrections for several tests).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from coordinator.acceptance.metric import Metric

__all__ = ["REACH_MARGINS", "Answer", "Decision", "SequentialTest", "log_money", "reach_of"]

Answer = Literal["accept", "reject", "go on"]
Array = NDArray[np.float64]

REACH_MARGINS = 10.0
"""Margins that one example counts for at most, where values are not just 0 and 1."""

GRID, ROUNDS = 8, 10
"""An end of an interval is found by so many cuts in eight."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What can be said after some examples.

    Attributes:
        n: examples that were looked at. largest: how many it may become.
        beyond_reach: of them, those whose difference is larger.
        effect: mean worsening, cut off; ``low`` and ``high`` bound it at ``confidence``, at any time.
        e_value, p_anytime: against "worse by the margin", of the most money there ever was.
        e_worse: the same against "not worse at all".
        reason: all of this in a sentence.
    """

    answer: Answer
    reason: str
    n: int
    largest: int
    beyond_reach: int
    effect: float
    low: float
    high: float
    confidence: float
    e_value: float
    p_anytime: float
    e_worse: float


@dataclass(frozen=True, slots=True)
class SequentialTest:
    """A paired non-inferiority test that may stop at any time.

    Attributes:
        margin: mean worsening that must be ruled out, above 0.
        reach: what one example counts for at most, above the margin (:func:`reach_of`).
        largest: examples there are.
        alpha: chance of accepting what is worse by the margin.
        beta: chance of rejecting on evidence what is no worse.
        batch: examples to look at before deciding again.
    """

    margin: float
    reach: float
    largest: int
    alpha: float = 0.05
    beta: float = 0.05
    batch: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.margin < self.reach or self.largest < 1 or self.batch < 1:
            raise AcceptanceError(
                f"a test in batches with margin {self.margin:g}, reach {self.reach:g}, {self.largest} examples in "
                f"batches of {self.batch}; expected 0 < margin < reach, and at least one example"
            )
        if not (0 < self.alpha < 1 and 0 < self.beta < 1):
            raise AcceptanceError(f"error rates {self.alpha:g} and {self.beta:g}; expected between 0 and 1")

    @property
    def stakes(self) -> Array:
        """Shares of what an example can cost: 1, 1/2, 1/4 and so on, two at least.

        At a stake s a candidate without effect wins about s * margin / reach / 2 an example where s is
        the best stake for it; one that would not get to 1 / alpha with ``largest`` of them is left out.
        """
        smallest = 2 * math.log(1 / self.alpha) * self.reach / (self.margin * self.largest)
        halvings = max(1, math.floor(math.log2(1 / smallest))) if smallest < 1 else 1
        return np.asarray(0.5 ** np.arange(halvings + 1))

    def fewest(self, level: float) -> int:
        """Examples after which a candidate that equals its base on all of them is accepted at ``level``.

        With a smaller ``largest`` a candidate has to be better than its base to pass.
        """
        stakes_S = self.stakes
        win = self.margin / (self.reach - self.margin)
        enough = math.ceil((math.log(len(stakes_S)) - math.log(level)) / math.log1p(win))
        return 1 + _first(log_money(np.full(enough + 1, win), stakes_S) >= -math.log(level))

    def log_money_against_worse(self, worsening_N: Array, by: float) -> Array:
        """Log of the money bet against "worse by ``by`` or more" after each example, [..., N]."""
        wins_N = by - np.maximum(worsening_N, -self.reach)
        return log_money(wins_N / (self.reach - by), self.stakes)

    def log_money_against_no_worse(self, worsening_N: Array, by: float = 0.0) -> Array:
        """Log of the money bet against "worse by ``by`` or less" after each example, [..., N]."""
        wins_N = np.minimum(worsening_N, self.reach) - by
        return log_money(wins_N / (self.reach + by), self.stakes)

    def decide(self, worsening_N: Array) -> Decision:
        """What to do after the first N examples. More of them never take an answer back.

        Args:
            worsening_N: float64 [N], how much worse the candidate is on each, N at most ``largest``.

        Raises:
            AcceptanceError: a difference is not finite.
        """
        n = worsening_N.size
        assert worsening_N.shape == (n,), worsening_N.shape
        assert n <= self.largest, (n, self.largest)
        if not np.isfinite(worsening_N).all():
            raise AcceptanceError(f"a test in batches: one of {n} differences is not finite")
        p_N = _p_anytime(self.log_money_against_worse(worsening_N, self.margin))
        p_worse_N = _p_anytime(self.log_money_against_no_worse(worsening_N))
        accepted_at, rejected_at = _first(p_N <= self.alpha), _first(p_worse_N <= self.beta)
        rejected = rejected_at < n and rejected_at <= accepted_at
        if rejected:  # what comes later in the same batch does not count
            p_N = p_N[: rejected_at + 1]
        p, e_worse = float(p_N.min(initial=1.0)), 1 / float(p_worse_N.min(initial=1.0))
        low, high = self.interval(worsening_N)
        cut_N = np.clip(worsening_N, -self.reach, self.reach)
        answer: Answer = "go on"
        if rejected or (n == self.largest and accepted_at == n):
            answer = "reject"
        elif accepted_at < n:
            answer = "accept"
        effect = float(cut_N.mean()) if n else 0.0
        return Decision(
            answer=answer,
            reason=self._reason(answer, n, effect, 1 / p, e_worse),
            n=n,
            largest=self.largest,
            beyond_reach=int(np.count_nonzero(cut_N != worsening_N)),
            effect=effect,
            low=low,
            high=high,
            confidence=max(0.0, 1 - 2 * self.alpha),
            e_value=1 / p,
            p_anytime=p,
            e_worse=e_worse,
        )

    def interval(self, worsening_N: Array) -> tuple[float, float]:
        """Mean worsenings that could not be bet against so far; each end is wrong with chance alpha at any time.

        What was ruled out once stays so. If the low end is above the high one, nothing is left: an
        end is wrong, or the order of the examples had to do with their content.
        """
        # Cut on both sides: the more a mean is off, the more money there is against it.
        cut_N = np.clip(worsening_N, -self.reach, self.reach)
        return -self._highest_mean(-cut_N), self._highest_mean(cut_N)

    def _highest_mean(self, cut_N: Array) -> float:
        """Means from there on were bet against with success; ``reach`` if none was."""
        low, high = -self.reach, self.reach
        for _ in range(ROUNDS):
            means_G = np.linspace(low, high, GRID + 1)
            inside_G1 = means_G[1:-1, None]
            money_GN = log_money((inside_G1 - cut_N) / (self.reach - inside_G1), self.stakes)
            possible = np.count_nonzero(money_GN.max(axis=1, initial=0.0) < math.log(1 / self.alpha))
            low, high = float(means_G[possible]), float(means_G[possible + 1])
        return high

    def _reason(self, answer: Answer, n: int, effect: float, e_value: float, e_worse: float) -> str:
        seen = f"{effect:+.4g} after {n} of {self.largest} examples"
        first = f"e {e_value:.3g} of {1 / self.alpha:.3g} against worse by {self.margin:g}"
        second = f"e {e_worse:.3g} of {1 / self.beta:.3g} against no worse"
        if answer == "accept":
            return f"{seen}: worse by {self.margin:g} is ruled out, {first}"
        if answer == "reject" and 1 / e_worse <= self.beta:
            return f"{seen}: it is worse, {second}"
        if answer == "reject":
            return f"{seen}: worse by {self.margin:g} is not ruled out, {first}, and there are no more examples"
        return f"{seen}: not sure yet, {first}, {second}"


def reach_of(metric: Metric, margin: float) -> float:
    """What one example counts for at most: all of it where values are 0 and 1, else ten margins or the whole range."""
    width = math.inf if metric.bounds is None else metric.bounds[1] - metric.bounds[0]
    return width if metric.binary else min(width, REACH_MARGINS * margin)


def log_money(wins_N: Array, stakes_S: Array) -> Array:
    """Log of the money, 1 at first and equally spread over the stakes, after each example.

    Args:
        wins_N: float64 [..., N], won or lost with each example at a stake of 1; at -1 all is lost, and no more.
        stakes_S: float64 [S], in (0, 1].

    Returns:
        float64 [..., N]. Its exponential is a nonnegative supermartingale if no win is expected.
    """
    logs_N = np.full(wins_N.shape, -np.inf)
    with np.errstate(divide="ignore"):
        for stake in stakes_S:
            each_N = np.log(np.maximum(0.0, 1.0 + stake * wins_N))
            logs_N = np.logaddexp(logs_N, np.cumsum(each_N, axis=-1))
    return np.asarray(logs_N - math.log(len(stakes_S)))


def _first(true_N: NDArray[np.bool_]) -> int:
    """Index of the first that is true; N if none is."""
    return int(true_N.argmax()) if true_N.any() else len(true_N)


def _p_anytime(logs_N: Array) -> Array:
    """p-values that hold at any time, from the most money there was so far: 1 at first, never rising."""
    return np.asarray(np.exp(-np.minimum(700.0, np.maximum.accumulate(np.maximum(0.0, logs_N)))))
