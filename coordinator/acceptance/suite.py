"""The suite: from what two models were measured to be, test by test, to a verdict.

A test that cannot measure the candidate fails, alone. One that cannot measure the base says
nothing of the candidate: the suite itself is at fault, and there is no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping

from barnraise.errors import AcceptanceError
from barnraise.suite import AcceptanceTestConfig, SuiteConfig
from coordinator.acceptance.kinds import Budget, Failure, Found, Kind, Measured, make_kind
from coordinator.acceptance.metric import FLAG
from coordinator.acceptance.statistics.budget import within_budget
from coordinator.acceptance.statistics.sequential import Decision
from coordinator.acceptance.verdict import CaseVerdict, PairedScores, Verdict, judge, ruled

__all__ = ["judge_models"]

SEED = 0


def judge_models(
    suite: SuiteConfig,
    base: Mapping[str, Found],
    candidate: Mapping[str, Found],
    decisions: Mapping[str, Decision] | None = None,
) -> Verdict:
    """The verdict on a candidate.

    Args:
        base, candidate: test -> what was found, for every test of the suite.
        decisions: test -> what was decided in batches.

    Raises:
        AcceptanceError: the base could not be measured, or values are missing or not finite.
    """
    pairs: list[PairedScores] = []
    decided: list[CaseVerdict] = []
    for test in suite.tests:
        kind, old, new = make_kind(test), base[test.name], candidate[test.name]
        if isinstance(old, Failure):
            raise AcceptanceError(
                f"test {test.name} fails on the base itself, so it says nothing of a candidate: {old.reason}; mend the "
                "suite, and the round goes on"
            )
        if isinstance(new, Failure):
            number = float(old.values_N.mean())
            decided.append(ruled(test, kind.metric, number, number, (False, f"could not be measured: {new.reason}")))
        elif isinstance(kind, Budget) or kind.metric == FLAG:
            decided.append(_ruled(test, kind, old, new))
        else:
            pairs.append(PairedScores(test, old.values_N, new.values_N, kind.metric, (decisions or {}).get(test.name)))
    return judge(pairs, suite.alpha, SEED, decided)


def _ruled(test: AcceptanceTestConfig, kind: Kind, base: Measured, candidate: Measured) -> CaseVerdict:
    """The verdict of a test that gives one number: a budget, or a flag."""
    old, new = float(base.values_N[0]), float(candidate.values_N[0])
    if isinstance(kind, Budget):
        margin = test.margin if test.margin or kind.limit is None else None
        budgeted = within_budget(old, new, kind.limit, margin, kind.metric.unit)
        return ruled(test, kind.metric, old, new, (budgeted.passed, budgeted.reason))
    why = candidate.notes.get("reason", "is as declared" if new else "is not as declared")
    return ruled(test, kind.metric, old, new, (new == 1.0, str(why)))
