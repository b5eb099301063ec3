"""Is a candidate non-inferior to its base: the statistics behind a release.

Both models saw the same examples, so they are compared example by example. A test passes
when its data rule out that the candidate is worse by its margin or more; no data, no pass.
Several tests have several chances to be wrong, so their p-values are corrected over the
supported ones. A model that scores the same on every example passes without a test.

N  examples of a test

Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70 (correction); the tests are in
resampling.py (loss) and proportions.py (accuracy).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnraise.config import AcceptanceTestConfig
from barnraise.digest import digest_bytes
from barnraise.errors import AcceptanceError
from coordinator.acceptance.proportions import paired_drop
from coordinator.acceptance.resampling import LOWEST_P, below_zero, mean_interval

__all__ = ["CaseVerdict", "PairedScores", "Verdict", "holm", "judge"]

UNITS = {"loss": "bits/byte", "accuracy": "share"}


@dataclass(frozen=True)
class PairedScores:
    """One acceptance test with both models' scores on its examples.

    Attributes:
        base, candidate: float64 [N], bits per byte, or 1 and 0 for right and wrong.
    """

    test: AcceptanceTestConfig
    base: NDArray[np.float64]
    candidate: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CaseVerdict:
    """What one acceptance test says.

    Attributes:
        unit: of the means, the effect and the margin.
        effect: candidate minus base; ``low`` and ``high`` bound it at ``confidence``, which is 1 - 2 alpha.
        p: that the candidate would look this good were it worse by the margin.
        p_holm: ``p`` corrected over the supported tests; of others it is ``p``.
        reason: all of this in a sentence.
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
            }
            for case in self.tests
        }


def judge(pairs: Sequence[PairedScores], alpha: float, seed: int) -> Verdict:
    """Judge a candidate against its base.

    Args:
        pairs: one a test.
        alpha: chance of calling at least one worse test non-inferior, over the supported ones.
        seed: of the resampling; every test draws from its own stream, named by its name.

    Raises:
        AcceptanceError: a score is missing or not finite.
    """
    ps = [_p_value(pair, seed) for pair in pairs]
    supported = [index for index, pair in enumerate(pairs) if pair.test.supported]
    corrected = dict(zip(supported, holm([ps[index] for index in supported]), strict=True))
    tests = tuple(
        _case(pair, p, corrected.get(index, p), alpha, seed)
        for index, (pair, p) in enumerate(zip(pairs, ps, strict=True))
    )
    failed = [case for case in tests if case.supported and not case.passed]
    if failed:
        numbers = "; ".join(case.reason for case in failed)
        reason = f"{len(failed)} of {len(supported)} supported tests are not shown to be non-inferior: {numbers}"
    elif supported:
        highest = max(corrected.values())
        reason = f"all {len(supported)} supported tests are non-inferior (highest corrected p {highest:.2g})"
    else:
        reason = "no test is supported, so nothing is promised"
    return Verdict(not failed, reason, tests)


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for how many there are, in the same order; never above 1."""
    corrected = [1.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = highest
    return corrected


def _p_value(pair: PairedScores, seed: int) -> float:
    test, base, candidate = pair.test, pair.base, pair.candidate
    if base.shape != candidate.shape or base.ndim != 1 or len(base) == 0:
        raise AcceptanceError(
            f"test {test.name}: scores of {base.shape} and {candidate.shape}, expected one an example"
        )
    unscored = int(np.count_nonzero(~(np.isfinite(base) & np.isfinite(candidate))))
    if unscored:
        raise AcceptanceError(f"test {test.name}: {unscored} of {len(base)} examples have a score that is not finite")
    if np.array_equal(base, candidate):
        return LOWEST_P
    if test.kind == "accuracy":
        lost, gained = int(np.count_nonzero(candidate < base)), int(np.count_nonzero(candidate > base))
        return max(LOWEST_P, paired_drop(lost, gained, len(base), test.margin))
    return below_zero(candidate - base - test.margin, _stream(seed, test.name, "test"))


def _case(pair: PairedScores, p: float, p_holm: float, alpha: float, seed: int) -> CaseVerdict:
    test, unit = pair.test, UNITS[pair.test.kind]
    base_mean, candidate_mean = float(pair.base.mean()), float(pair.candidate.mean())
    effect = float((pair.candidate - pair.base).mean())
    confidence = max(0.0, 1 - 2 * alpha)
    low, high = mean_interval(pair.candidate - pair.base, confidence, _stream(seed, test.name, "interval"))
    passed = p_holm <= alpha
    reason = (
        f"{test.name} {base_mean:.3f} -> {candidate_mean:.3f} {unit} ({effect:+.3f}, {confidence:.0%} interval "
        f"{low:+.3f} to {high:+.3f}); worse by {test.margin:g} is {'ruled out' if passed else 'not ruled out'}, "
        f"p {p_holm:.2g} {'<=' if passed else '>'} {alpha:g}"
    )
    return CaseVerdict(
        name=test.name,
        unit=unit,
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
    )


def _stream(seed: int, name: str, purpose: str) -> np.random.Generator:
    """Random numbers of one test, whatever other tests there are."""
    return np.random.default_rng([seed, int(digest_bytes(f"{name}/{purpose}".encode())[3:19], 16)])
