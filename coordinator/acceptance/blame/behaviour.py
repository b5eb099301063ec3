"""Is one behaviour of a model as good as it was: one test of a suite, against the good end of a bisection.

A model is bad when the test does not show it to be non-inferior to the good end, with the test's
own margin and all of the suite's alpha; the same examples, measured in the same way and judged by
the same function as a coordinator's. What cannot be measured is untestable, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from barnraise.errors import (
    AcceptanceError,
    BlobMissingError,
    CheckpointError,
    MergeError,
    ReleaseError,
    UpdateError,
    UsageError,
)
from barnraise.suite import AcceptanceTestConfig, SuiteConfig
from coordinator.acceptance.blame.bisect import Answer
from coordinator.acceptance.kept import KeptValues
from coordinator.acceptance.run_suite import AtHand, Contender, RunOptions, run_suite

__all__ = ["Behaviour", "Judged", "one_test"]

UNTESTABLE = (AcceptanceError, BlobMissingError, CheckpointError, MergeError, ReleaseError, UpdateError)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a test says of a model."""

    answer: Answer
    reason: str


def one_test(suite: SuiteConfig, name: str) -> SuiteConfig:
    """A suite of one of its tests.

    Raises:
        UsageError: it has no such test.
    """
    tests = tuple(test for test in suite.tests if test.name == name)
    if not tests:
        known = ", ".join(test.name for test in suite.tests)
        raise UsageError(f"the suite has no test {name[:64]!a}; there are {known}")
    return suite.model_copy(update={"tests": tests})


@dataclass(frozen=True)
class Behaviour:
    """A test, and what it finds at the good end.

    Attributes:
        suite: of the one test. good: what models are compared with.
        examples_of: what is there for the test. kept: where values are kept.
    """

    suite: SuiteConfig
    good: Contender
    examples_of: Callable[[AcceptanceTestConfig], AtHand]
    kept: Path

    def require_good(self) -> None:
        """Measure the good end.

        Raises:
            AcceptanceError: it cannot be measured, or there are no examples here.
            UsageError: by itself it is bad: over a limit, or not as declared.
        """
        judged = self._judge(self.good)
        if judged.answer != "good":
            raise UsageError(f"{self.good.label} is to be the good end, and is bad itself: {judged.reason}")

    def judge_release(self, candidate: Contender) -> Judged:
        """Whether a model is as good as the good end; also of one that is no release.

        Raises:
            NetworkError, StorageError: it could not be had this time.
        """
        try:
            return self._judge(candidate)
        except UNTESTABLE as error:
            return Judged("untestable", error.reason)

    def _judge(self, candidate: Contender) -> Judged:
        ran = run_suite(self.suite, candidate, self.good, self.examples_of, RunOptions(KeptValues(self.kept)))
        (outcome,) = ran.outcomes
        answers: dict[str, Answer] = {"passed": "good", "failed": "bad"}
        return Judged(answers.get(outcome.state, "untestable"), outcome.reason)
