"""Run a suite on a model, and on its base where there is one: all that ``barnraise test`` reports.

The numbers are those of a coordinator: the same examples, measured in the same way, judged by the
same function. Nothing is measured twice, neither in one run nor, with a place to keep values, in
the next one.

    the base cannot be measured         the suite is at fault: an error, no verdict
    the candidate cannot be measured    that test fails, with the reason
    there is no base                    everything is measured, nothing is judged

N  examples of a test
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from barnraise.errors import AcceptanceError, BarnraiseError
from barnraise.suite import AcceptanceTestConfig, LookConfig, SuiteConfig
from coordinator.acceptance.batches import require_enough, suite_steps
from coordinator.acceptance.examples import NOTHING, Examples
from coordinator.acceptance.kept import KeptValues
from coordinator.acceptance.kinds import Failure, Found, Measured, make_kind
from coordinator.acceptance.measuring import OF_THE_MOMENT, Part, first_examples, measure, measurement
from coordinator.acceptance.measuring import examples_of as examples_of_part
from coordinator.acceptance.metric import Metric
from coordinator.acceptance.models.subject import Subject
from coordinator.acceptance.verdict import CaseVerdict, Verdict

__all__ = ["AtHand", "Contender", "Outcome", "RunOptions", "State", "SuiteRun", "Watch", "run_suite"]

State = Literal["passed", "failed", "crashed", "measured", "skipped"]
Of = Literal["base", "candidate"]


@dataclass(frozen=True)
class Contender:
    """A model that a suite can be run on.

    Attributes:
        label: how reports name it. digest: of the model.
        open: makes what tests look at; called once, if anything has to be measured.
    """

    label: str
    digest: str
    open: Callable[[], Subject] = field(repr=False, compare=False)


@dataclass(frozen=True)
class AtHand:
    """What there is for a test to look at.

    Attributes:
        shown: whether reports may quote it; hidden examples are counted and never shown.
        skip: why the test cannot be run here; empty where it can.
    """

    examples: Examples = NOTHING
    shown: bool = True
    skip: str = ""


class Watch(Protocol):
    """Is told how far a run is."""

    def begins(self, test: str, of: Of) -> None: ...

    def ends(self, test: str, of: Of, said: str) -> None:
        """Args:
        said: what was found, in a few words.
        """
        ...


class _Nobody:
    def begins(self, test: str, of: Of) -> None:
        pass

    def ends(self, test: str, of: Of, said: str) -> None:
        pass


@dataclass(frozen=True)
class RunOptions:
    """How to run.

    Attributes:
        kept: where values are kept; None keeps them for this run only. clock: seconds, for how long a test takes.
    """

    kept: KeptValues | None = None
    watch: Watch = field(default_factory=_Nobody)
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Outcome:
    """What became of one test.

    Attributes:
        reason: in a sentence. examples: those that were looked at; ``shown``: whether reports may quote them.
        base, candidate: what was measured, where it was.
        case: the verdict's row. seconds: of measuring, 0 where all was known.
    """

    test: AcceptanceTestConfig
    metric: Metric
    state: State
    reason: str
    examples: Examples = NOTHING
    shown: bool = False
    base: Measured | None = None
    candidate: Measured | None = None
    case: CaseVerdict | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class SuiteRun:
    """A suite that was run. ``verdict`` is None where there was no base."""

    suite: SuiteConfig
    candidate: Contender
    base: Contender | None
    outcomes: tuple[Outcome, ...]
    verdict: Verdict | None

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Supported tests that did not pass."""
        return tuple(one for one in self.outcomes if one.test.supported and one.state in ("failed", "crashed"))

    @property
    def skipped(self) -> tuple[Outcome, ...]:
        return tuple(one for one in self.outcomes if one.state == "skipped")

    @property
    def reason(self) -> str:
        """The verdict in a sentence, or why there is none."""
        left_out = [one.test.name for one in self.skipped if one.test.supported]
        more = f"; not run here: {', '.join(left_out)}" if left_out else ""
        if self.verdict is not None:
            return self.verdict.reason + more
        if self.failed:
            names = ", ".join(one.test.name for one in self.failed)
            return f"{len(self.failed)} of {len(self.outcomes)} tests could not measure the model: {names}{more}"
        return f"nothing to compare with: {len(self.outcomes) - len(self.skipped)} tests were measured{more}"


def run_suite(
    suite: SuiteConfig,
    candidate: Contender,
    base: Contender | None,
    examples_of: Callable[[AcceptanceTestConfig], AtHand],
    options: RunOptions | None = None,
) -> SuiteRun:
    """Measure a model, and its base, by every test, and judge.

    Args:
        base: what the candidate must not be worse than; None: it is only measured.
        examples_of: what is there for a test.

    Raises:
        AcceptanceError: a test that does not fit its examples, too few of them, nothing that can be run, or
            one that cannot measure the base.
        BarnraiseError: a model that cannot be loaded, or something that is not installed.
    """
    at_hand = {test.name: examples_of(test) for test in suite.tests}
    metrics = {test.name: make_kind(test).metric for test in suite.tests}
    ran = tuple(test for test in suite.tests if not at_hand[test.name].skip)
    if not ran:
        raise AcceptanceError(f"no test of the suite can be run here: {at_hand[suite.tests[0].name].skip}")
    require_enough(suite.model_copy(update={"tests": ran}))
    for test in ran:
        first_examples(test, at_hand[test.name].examples)
    bench = _Bench({name: one.examples for name, one in at_hand.items()}, options or RunOptions())
    if base is not None:
        verdict = _judged(suite.model_copy(update={"tests": ran}), candidate, base, bench)
    else:
        verdict = None
        bench.measure(candidate, [Part(test) for test in ran], "candidate")
    cases = {case.name: case for case in verdict.tests} if verdict is not None else {}
    outcomes = [
        Outcome(test, metrics[test.name], "skipped", at_hand[test.name].skip)
        if test not in ran
        else bench.outcome(test, metrics[test.name], at_hand[test.name].shown, cases.get(test.name))
        for test in suite.tests
    ]
    return SuiteRun(suite, candidate, base, tuple(outcomes), verdict)


def _judged(suite: SuiteConfig, candidate: Contender, base: Contender, bench: _Bench) -> Verdict:
    """Measure both models part by part until the answer is sure, as a coordinator does."""
    steps = suite_steps(suite)
    parts = next(steps)
    while True:
        before = bench.measure(base, parts, "base")
        after = bench.measure(candidate, parts, "candidate")
        failed = [part for part, found in zip(parts, after, strict=True) if isinstance(found, Failure)]
        bench.measure(base, failed, "base", again=True)  # is it the model, or the machine as it is now
        try:
            parts = steps.send(list(zip(before, after, strict=True)))
        except StopIteration as end:
            verdict: Verdict = end.value
            return verdict


def _state(test: AcceptanceTestConfig, found: Found, case: CaseVerdict | None) -> tuple[State, str]:
    if isinstance(found, Failure):
        return "crashed", case.reason if case is not None else f"{test.name} could not be measured: {found.reason}"
    if case is None:
        return "measured", f"{test.name} is {found.values_N.mean():.4g} on {_count(len(found.values_N))}"
    return ("passed" if case.passed else "failed"), case.reason


class _Bench:
    """Measures models, each by each part of a test once, and remembers what was found.

    Args:
        at_hand: examples of each test.
    """

    def __init__(self, at_hand: Mapping[str, Examples], options: RunOptions) -> None:
        self._at_hand = at_hand
        self._options = options
        self._known: dict[str, Found] = {}
        self._subjects: dict[str, Subject] = {}
        self._found: dict[tuple[str, Of], list[Found]] = {}
        self._looked_at: dict[str, list[Examples]] = {}
        self._seconds: dict[str, float] = {}

    def measure(self, contender: Contender, parts: Iterable[Part], of: Of, *, again: bool = False) -> list[Found]:
        """What each part finds of a model.

        Args:
            again: measure what is known, too, to see whether it still can be.

        Raises:
            AcceptanceError: it is the base, and cannot be measured.
        """
        answers = []
        for part in parts:
            name = part.look.name
            self._options.watch.begins(name, of)
            found, said = self._one(contender, part, again=again)
            self._options.watch.ends(name, of, said)
            if of == "base" and isinstance(found, Failure):
                raise AcceptanceError(
                    f"test {name} fails on the base itself ({contender.label}), so it says nothing of another model: "
                    f"{found.reason}. Mend the suite"
                )
            if not again:
                self._found.setdefault((name, of), []).append(found)
            if of == "candidate":
                self._looked_at.setdefault(name, []).append(self._examples(part))
            answers.append(found)
        return answers

    def outcome(self, test: AcceptanceTestConfig, metric: Metric, shown: bool, case: CaseVerdict | None) -> Outcome:
        """What became of a test, all of its parts together."""
        base, candidate = (_together(self._found.get((test.name, of), [])) for of in ("base", "candidate"))
        assert candidate is not None
        state, reason = _state(test, candidate, case)
        return Outcome(
            test,
            metric,
            state,
            reason,
            _all_of(self._looked_at[test.name]),
            shown,
            base if isinstance(base, Measured) else None,
            candidate if isinstance(candidate, Measured) else None,
            case,
            self._seconds.get(test.name, 0.0),
        )

    def _one(self, contender: Contender, part: Part, *, again: bool) -> tuple[Found, str]:
        look, examples = part.look, self._examples(part)
        name = measurement(contender.digest, look, examples)
        known = None if again else self._known.get(name) or self._kept(name, look)
        if known is not None:
            return known, f"{_said(known)}, known before"
        if contender.digest not in self._subjects:
            self._subjects[contender.digest] = contender.open()
        begin = self._options.clock()
        found = _guarded(self._subjects[contender.digest], look, examples)
        seconds = self._options.clock() - begin
        self._seconds[look.name] = self._seconds.get(look.name, 0.0) + seconds
        if isinstance(found, Measured) and look.timeout_s is not None and seconds > look.timeout_s:
            found = Failure(f"it took {seconds:.1f} s, at most {look.timeout_s:g} s are allowed")
        self._known[name] = found
        if self._options.kept is not None and isinstance(found, Measured) and look.kind not in OF_THE_MOMENT:
            self._options.kept.put(name, found)
        return found, f"{_said(found)}, {seconds:.1f} s"

    def _examples(self, part: Part) -> Examples:
        return examples_of_part(part, self._at_hand[part.look.name])

    def _kept(self, name: str, look: LookConfig) -> Measured | None:
        if self._options.kept is None or look.kind in OF_THE_MOMENT:
            return None
        return self._options.kept.get(name)


def _together(parts: list[Found]) -> Found | None:
    """What all parts of a test found; None where it was not measured."""
    for part in parts:
        if isinstance(part, Failure):
            return part
    measured = [part for part in parts if isinstance(part, Measured)]
    if not measured:
        return None
    return Measured(np.concatenate([part.values_N for part in measured]), measured[-1].notes)


def _all_of(parts: list[Examples]) -> Examples:
    """The examples of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    windows = [part.windows for part in parts if part.windows is not None]
    rows = tuple(row for part in parts for row in part.rows)
    return Examples(parts[0].digest, np.concatenate(windows) if windows else None, rows)


def _guarded(subject: Subject, look: LookConfig, examples: Examples) -> Found:
    """What a test finds; whatever goes wrong in it is its own failure, but for what this machine lacks."""
    try:
        return measure(subject, look, examples)
    except AcceptanceError as error:
        return Failure(str(error))
    except BarnraiseError:
        raise
    except Exception as error:  # noqa: BLE001  a kind may run anybody's code
        return Failure(f"{type(error).__name__}: {_line(error)}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or "no message"


def _said(found: Found) -> str:
    if isinstance(found, Failure):
        return found.reason
    return f"{found.values_N.mean():.4g} on {_count(len(found.values_N))}"


def _count(examples: int) -> str:
    return f"{examples:,} example{'' if examples == 1 else 's'}"
