"""What goes out of a verdict: of tests on hidden examples no more than the examples can carry.

The decision is made with exact numbers; those that are told, in rounds, manifests, cards and
reasons, are rounded to the standard error of a mean over so many examples (feedback.py), and do
not say which examples changed. A test is hidden when its examples are drawn or its data set is.
"""

from __future__ import annotations

from dataclasses import replace

from barnraise.suite import AcceptanceTestConfig, SuiteConfig
from coordinator.acceptance.hidden.feedback import resolution, rounded_summary, told
from coordinator.acceptance.kinds import make_kind
from coordinator.acceptance.verdict import RULE, CaseVerdict, Verdict, concluded

__all__ = ["is_hidden", "told_of"]


def is_hidden(test: AcceptanceTestConfig, suite: SuiteConfig) -> bool:
    """Whether a test looks at examples that nobody outside may know."""
    return test.pool is not None or (test.data is not None and suite.data[test.data].hidden)


def told_of(verdict: Verdict, suite: SuiteConfig) -> Verdict:
    """The verdict as it may be told; what passed and failed stays."""
    tests = {test.name: test for test in suite.tests}
    return concluded(
        [
            _rounded(case, tests[case.name]) if is_hidden(tests[case.name], suite) and case.method != RULE else case
            for case in verdict.tests
        ]
    )


def _rounded(case: CaseVerdict, test: AcceptanceTestConfig) -> CaseVerdict:
    step = resolution(make_kind(test).metric.spread, case.n)
    row = rounded_summary(
        {
            "base_mean": case.base_mean,
            "mean": case.candidate_mean,
            "effect": case.effect,
            "low": case.low,
            "high": case.high,
            "p": case.p,
            "p_holm": case.p_holm,
        },
        step,
    )
    ruled_out = "ruled out" if case.passed else "not ruled out"
    return replace(
        case,
        base_mean=row["base_mean"],
        candidate_mean=row["mean"],
        effect=row["effect"],
        low=row["low"],
        high=row["high"],
        p=row["p"],
        p_holm=row["p_holm"],
        p_difference=1.0,
        worsened=0,
        improved=0,
        worst=(),
        best=(),
        beyond_reach=0,
        reason=f"{test.name} {told(case.effect, step, case.unit)}; worse by {test.margin:g} is {ruled_out}",
    )
