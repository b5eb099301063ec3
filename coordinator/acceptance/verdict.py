"""Is a candidate non-inferior to its base: the statistics behind a release.

Both models saw the same examples, so they are compared example by example. A test passes
when its data rule out that the candidate is worse by its margin or more; no data, no pass.
Several tests have several chances to be wrong, so their p-values are corrected over the
supported ones. A model that scores the same on every example passes without a test.

A test that was looked at in batches brings its own p-value, which holds at any time of stopping.
What has no examples, such as a size, is decided by a rule before and counts without correction.

N  examples of a test

Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70 (holm.py); which statistical test fits
which metric is in comparison.py, tests in batches are in sequential.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import digest_bytes
from barnraise.errors import AcceptanceError
from coordinator.acceptance.metric import Metric
from coordinator.acceptance.statistics.comparison import (
    METRICS,
    Draws,
    changed,
    difference_p,
    interval,
    not_worse_p,
    worsening,
)
from coordinator.acceptance.statistics.holm import holm
from coordinator.acceptance.statistics.resampling import LOWEST_P
from coordinator.acceptance.statistics.sequential import Decision

__all__ = ["Asked", "CaseVerdict", "PairedScores", "Verdict", "concluded", "holm", "judge", "ruled"]


RULE = "rule"
"""Decided without a statistical test."""


class Asked(Protocol):
    """What a verdict must know of an acceptance test (``AcceptanceTestConfig``)."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def margin(self) -> float: ...
    @property
    def supported(self) -> bool: ...
    @property
    def weight(self) -> float: ...


@dataclass(frozen=True)
class PairedScores:
    """One acceptance test with both models' scores on its examples.

    Attributes:
        base, candidate: float64 [N], in the metric's unit; 1 and 0 for right and wrong.
        metric: what they are; None: that of the test's kind.
        decision: what was decided in batches, on exactly these examples; None: all were looked at.
    """

    test: Asked
    base: NDArray[np.float64]
    candidate: NDArray[np.float64]
    metric: Metric | None = None
    decision: Decision | None = None

    @property
    def measured_in(self) -> Metric:
        return self.metric or METRICS[self.test.kind]


@dataclass(frozen=True, slots=True)
class CaseVerdict:
    """What one acceptance test says.

    Attributes:
        unit: of the means, the effect and the margin.
        effect: candidate minus base; ``low`` and ``high`` bound it at ``confidence``, which is 1 - 2 alpha.
        p: that the candidate would look this good were it worse by the margin.
        p_holm: ``p`` corrected over the supported tests; of others it is ``p``.
        reason: all of this in a sentence.
        method: the statistical test behind ``p``.
        p_difference: that they would look this different were there no difference; decides nothing.
        worsened, improved: examples that did; of right and wrong, those that flipped.
        worst, best: which those are, as indices, the largest changes first; not all if they are many.
        beyond_reach: differences larger than one example counts for, in a test in batches.
    """

    name: str
    unit: str
    n: int
    base_mean: float
    candidate_mean: float
    effect: float
    low: float
    high: float
    confidence: float
    p: float
    p_holm: float
    margin: float
    passed: bool
    supported: bool
    reason: str
    method: str = ""
    p_difference: float = 1.0
    worsened: int = 0
    improved: int = 0
    worst: tuple[int, ...] = ()
    best: tuple[int, ...] = ()
    beyond_reach: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the suite says. It passes when every supported test does."""

    passed: bool
    reason: str
    tests: tuple[CaseVerdict, ...]

    def as_json(self) -> dict[str, Any]:
        """The acceptance report: plain values, the same for the same scores."""
        return {"passed": self.passed, "reason": self.reason, "tests": [asdict(case) for case in self.tests]}

    def summary(self) -> dict[str, dict[str, Any]]:
        """Test name -> the numbers that go with a release (``ReleaseTagged.summary``)."""
        return {
            case.name: {
                "mean": case.candidate_mean,
                "base_mean": case.base_mean,
                "effect": case.effect,
                "low": case.low,
                "high": case.high,
                "confidence": case.confidence,
                "p": case.p_holm,
                "passed": case.passed,
                "unit": case.unit,
                "supported": case.supported,
                "n": case.n,
                "margin": case.margin,
                "method": case.method,
                "worsened": case.worsened,
                "improved": case.improved,
                "reason": case.reason,
            }
            for case in self.tests
        }


def judge(pairs: Sequence[PairedScores], alpha: float, seed: int, decided: Sequence[CaseVerdict] = ()) -> Verdict:
    """Judge a candidate against its base.

    Args:
        pairs: one a test.
        alpha: chance of calling at least one worse test non-inferior, over the supported ones.
        seed: of the resampling; every test draws from its own stream, named by its name.
        decided: tests without examples (:func:`ruled`).

    Raises:
        AcceptanceError: a score is missing or not finite.
    """
    ps = [_p_value(pair, seed) for pair in pairs]
    supported = [index for index, pair in enumerate(pairs) if pair.test.supported]
    weights = [pairs[index].test.weight for index in supported]
    corrected = dict(zip(supported, holm([ps[index][0] for index in supported], weights), strict=True))
    tests = tuple(
        _case(pair, of_pair, corrected.get(index, of_pair[0]), alpha, seed)
        for index, (pair, of_pair) in enumerate(zip(pairs, ps, strict=True))
    ) + tuple(decided)
    return concluded(tests)


def concluded(tests: Sequence[CaseVerdict]) -> Verdict:
    """The suite's verdict from those of its tests."""
    promised = [case for case in tests if case.supported]
    failed = [case for case in promised if not case.passed]
    if failed:
        numbers = "; ".join(case.reason for case in failed)
        reason = f"{len(failed)} of {len(promised)} supported tests are not shown to be non-inferior: {numbers}"
    elif promised:
        ps = [case.p_holm for case in promised if case.method != RULE]
        highest = f" (highest corrected p {max(ps):.2g})" if ps else ""
        reason = f"all {len(promised)} supported tests are non-inferior{highest}"
    else:
        reason = "no test is supported, so nothing is promised"
    return Verdict(not failed, reason, tuple(tests))


def ruled(test: Asked, metric: Metric, base: float, candidate: float, ruling: tuple[bool, str]) -> CaseVerdict:
    """The verdict of a test without examples, such as a budget.

    Args:
        base, candidate: the one number that was measured of each.
        ruling: whether it passed, and why.
    """
    passed, why = ruling
    effect = candidate - base
    p = 0.0 if passed else 1.0
    return CaseVerdict(
        name=test.name,
        unit=metric.unit,
        n=1,
        base_mean=base,
        candidate_mean=candidate,
        effect=effect,
        low=effect,
        high=effect,
        confidence=1.0,
        p=p,
        p_holm=p,
        margin=test.margin,
        passed=passed,
        supported=test.supported,
        reason=f"{test.name} {why}",
        method=RULE,
    )


def _p_value(pair: PairedScores, seed: int) -> tuple[float, str]:
    """p-value against "worse by the margin", and the name of the test."""
    name, base, candidate = pair.test.name, pair.base, pair.candidate
    if base.shape != candidate.shape or base.ndim != 1 or len(base) == 0:
        raise AcceptanceError(f"test {name}: scores of {base.shape} and {candidate.shape}, expected one an example")
    unscored = int(np.count_nonzero(~(np.isfinite(base) & np.isfinite(candidate))))
    if unscored:
        raise AcceptanceError(f"test {name}: {unscored} of {len(base)} examples have a score that is not finite")
    if pair.decision is not None:
        if pair.decision.n != len(base):
            raise AcceptanceError(
                f"test {name}: decided on {pair.decision.n} examples, there are scores of {len(base)}"
            )
        return pair.decision.p_anytime, "e-process"
    if np.array_equal(base, candidate):
        return LOWEST_P, "the same on every example"
    metric = pair.measured_in
    return not_worse_p(metric, worsening(metric, base, candidate), pair.test.margin, _draws(seed, name))


def _case(pair: PairedScores, of_pair: tuple[float, str], p_holm: float, alpha: float, seed: int) -> CaseVerdict:
    test, metric, (p, method) = pair.test, pair.measured_in, of_pair
    worse_N, draws = worsening(metric, pair.base, pair.candidate), _draws(seed, pair.test.name)
    base_mean, candidate_mean = float(pair.base.mean()), float(pair.candidate.mean())
    if pair.decision is None:
        confidence = max(0.0, 1 - 2 * alpha)
        low, high = interval(metric, worse_N, confidence, draws)
    else:
        low, high, confidence = pair.decision.low, pair.decision.high, pair.decision.confidence
    if metric.higher_is_better:  # those are bounds of the worsening, the report's are of the change
        low, high = 0.0 - high, 0.0 - low
    found = changed(worse_N)
    passed = p_holm <= alpha
    effect = float((pair.candidate - pair.base).mean())
    reason = (
        f"{test.name} {base_mean:.3f} -> {candidate_mean:.3f} {metric.unit} ({effect:+.3f}, {confidence:.0%} interval "
        f"{low:+.3f} to {high:+.3f}); worse by {test.margin:g} is {'ruled out' if passed else 'not ruled out'}, "
        f"p {p_holm:.2g} {'<=' if passed else '>'} {alpha:g}"
    )
    if metric.binary:
        reason += f"; {found.worse} lost and {found.better} gained of {len(worse_N)}"
    return CaseVerdict(
        name=test.name,
        unit=metric.unit,
        n=len(pair.base),
        base_mean=base_mean,
        candidate_mean=candidate_mean,
        effect=effect,
        low=low,
        high=high,
        confidence=confidence,
        p=p,
        p_holm=p_holm,
        margin=test.margin,
        passed=passed,
        supported=test.supported,
        reason=reason,
        method=method,
        p_difference=difference_p(metric, worse_N, draws),
        worsened=found.worse,
        improved=found.better,
        worst=found.worst,
        best=found.best,
        beyond_reach=pair.decision.beyond_reach if pair.decision else 0,
    )


def _draws(seed: int, name: str) -> Draws:
    """Random numbers of one test, whatever other tests there are."""
    return lambda purpose: np.random.default_rng([seed, int(digest_bytes(f"{name}/{purpose}".encode())[3:19], 16)])
