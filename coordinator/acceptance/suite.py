"""The suite: from what two models were measured to be, test by test, to a verdict."""

from __future__ import annotations

from collections.abc import Mapping

from barnraise.suite import SuiteConfig
from coordinator.acceptance.kinds import Measured
from coordinator.acceptance.verdict import PairedScores, Verdict, judge

__all__ = ["judge_models"]

SEED = 0


def judge_models(suite: SuiteConfig, base: Mapping[str, Measured], candidate: Mapping[str, Measured]) -> Verdict:
    """The verdict on a candidate.

    Args:
        base, candidate: test -> what was measured, for every test of the suite.

    Raises:
        AcceptanceError: values are missing or not finite.
    """
    pairs = [PairedScores(test, base[test.name].values_N, candidate[test.name].values_N) for test in suite.tests]
    return judge(pairs, suite.alpha, SEED)
