"""Look at a suite's examples part by part, until the answer is sure.

What is not sequential is measured whole and at once, together with the first batch of what is.
Then the sequential tests that are still open get batch after batch (family.py says which). Who
measures is not known here: a coordinator does it on Ray, ``barnraise test`` in its own process,
and both come to the same verdict after the same examples.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from barnraise.errors import AcceptanceError
from barnraise.suite import AcceptanceTestConfig, SuiteConfig
from coordinator.acceptance.kinds import Budget, Failure, Found, Measured, make_kind
from coordinator.acceptance.measuring import Part
from coordinator.acceptance.metric import FLAG, Metric
from coordinator.acceptance.statistics.comparison import worsening
from coordinator.acceptance.statistics.family import Progress, next_batches
from coordinator.acceptance.statistics.sequential import Decision, SequentialTest, reach_of
from coordinator.acceptance.suite import SEED, judge_models
from coordinator.acceptance.verdict import PairedScores, Verdict, judge

__all__ = ["require_enough", "suite_steps"]

BETA = 0.05
"""Chance that all tests in batches together reject on evidence a candidate that is no worse."""

Answers = Sequence[tuple[Found, Found]]
"""Of each part, what was found of the base and of the candidate."""


def require_enough(suite: SuiteConfig) -> None:
    """Refuse a test in batches that could not even pass a model that equals its base.

    Raises:
        AcceptanceError: it has too few examples for its margin and its place in the correction.
    """
    total = sum(test.weight for test in suite.tests if test.supported)
    for test in suite.tests:
        if test.sequential and test.supported:
            batches = SequentialTest(test.margin, reach_of(make_kind(test).metric, test.margin), test.examples)
            needed = batches.fewest(suite.alpha * test.weight / total)
            if test.examples < needed:
                raise AcceptanceError(
                    f"test {test.name}: in batches, with margin {test.margin:g}, even a model that equals its base "
                    f"needs {needed} examples, and there are {test.examples}; give it more, or remove sequential"
                )


def suite_steps(
    suite: SuiteConfig, places: dict[str, tuple[int, ...]] | None = None
) -> Generator[list[Part], Answers, Verdict]:
    """Yields what to measure next of both models, is sent what was found, and returns the verdict.

    Args:
        places: test -> the examples that were drawn for it, in their order; others look at the first ones.

    Raises:
        AcceptanceError: the base could not be measured, or values are not finite.
    """
    weights = sum(test.weight for test in suite.tests if test.sequential and test.supported)
    looked = [
        _Looked(
            test,
            suite.alpha,
            BETA * test.weight / weights if test.supported and test.sequential else BETA,
            (places or {}).get(test.name),
        )
        for test in suite.tests
    ]
    wanted = {one.test.name: one.first for one in looked}
    while wanted:
        going = [one for one in looked if one.test.name in wanted]
        answers = yield [one.part(wanted[one.test.name]) for one in going]
        for one, (old, new) in zip(going, answers, strict=True):
            one.take(old, new)
        wanted = _wanted(looked, suite.alpha)
    return judge_models(
        suite,
        {one.test.name: one.found(0) for one in looked},
        {one.test.name: one.found(1) for one in looked},
        {one.test.name: one.decision for one in looked if one.test.sequential and not one.failed},
    )


def _wanted(looked: Sequence[_Looked], alpha: float) -> dict[str, int]:
    """Test -> how many further examples; nothing when the answer is sure."""
    if any(one.failed and one.test.supported for one in looked):
        return {}
    paired = [one for one in looked if one.is_paired and not one.failed]
    progress = [
        Progress(one.test.name, one.batches, one.decision, one.test.supported, one.test.weight) for one in paired
    ]
    return dict(next_batches(progress, alpha).more) if any(one.test.sequential for one in paired) else {}


@dataclass
class _Looked:
    """One test: what was found so far."""

    test: AcceptanceTestConfig
    alpha: float
    beta: float
    places: tuple[int, ...] | None
    answers: list[tuple[Found, Found]] = field(default_factory=list)

    @cached_property
    def metric(self) -> Metric:
        return make_kind(self.test).metric

    @cached_property
    def is_paired(self) -> bool:
        """Whether it compares examples, and is no budget or flag."""
        return not isinstance(make_kind(self.test), Budget) and self.metric != FLAG

    @property
    def batches(self) -> SequentialTest:
        """The test in batches; one that is not is at its end when it was looked at."""
        margin, largest = self.test.margin, self.largest if self.test.sequential else self.decision.n
        return SequentialTest(margin, reach_of(self.metric, margin), largest, alpha=self.alpha, beta=self.beta)

    @cached_property
    def largest(self) -> int:
        return self.test.examples if self.places is None else len(self.places)

    @property
    def first(self) -> int:
        return min(self.batches.batch, self.largest) if self.test.sequential else self.largest

    @property
    def failed(self) -> bool:
        return any(isinstance(one, Failure) for pair in self.answers for one in pair)

    def part(self, more: int) -> Part:
        """The next examples."""
        if self.places is None and not self.test.sequential:
            return Part(self.test)
        seen = sum(len(old.values_N) for old, _ in self.answers if isinstance(old, Measured))
        every = range(self.largest) if self.places is None else self.places
        return Part(self.test, tuple(every[seen : seen + more]))

    def take(self, old: Found, new: Found) -> None:
        self.answers.append((old, new))
        self.__dict__.pop("decision", None)

    def found(self, which: int) -> Found:
        """What was found of the base (0) or of the candidate (1), all of it."""
        parts = [pair[which] for pair in self.answers]
        for part in parts:
            if isinstance(part, Failure):
                return part
        measured = [part for part in parts if isinstance(part, Measured)]
        return Measured(np.concatenate([part.values_N for part in measured]), measured[-1].notes)

    @cached_property
    def decision(self) -> Decision:
        """What can be said by now; of a test that is not sequential, its p-value, once and for all."""
        old, new = self.found(0), self.found(1)
        assert isinstance(old, Measured)
        assert isinstance(new, Measured)
        if self.test.sequential:
            return self.batches.decide(worsening(self.metric, old.values_N, new.values_N))
        (case,) = judge([PairedScores(self.test, old.values_N, new.values_N, self.metric)], self.alpha, SEED).tests
        n, effect = len(old.values_N), case.effect
        return Decision("go on", case.reason, n, n, 0, effect, case.low, case.high, case.confidence, 1.0, case.p, 1.0)
