"""A suite that is looked at part by part comes to the verdict of one that is looked at at once, or earlier."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from barnraise.suite import AcceptanceTestConfig, SuiteConfig
from coordinator.acceptance.batches import require_enough, suite_steps
from coordinator.acceptance.kinds import Failure, Found, Measured
from coordinator.acceptance.measuring import Part
from coordinator.acceptance.suite import judge_models
from coordinator.acceptance.verdict import Verdict

Values = NDArray[np.float64]
N = 512


def answers(share: float, seed: int) -> Values:
    return (np.random.default_rng(seed).random(N) < share).astype(np.float64)


def asks(name: str, *, sequential: bool, supported: bool = True, margin: float = 0.1) -> AcceptanceTestConfig:
    return AcceptanceTestConfig(
        name=name,
        kind="accuracy",
        shard="text",
        examples=N,
        margin=margin,
        sequential=sequential,
        supported=supported,
    )


def looked_at(
    suite: SuiteConfig,
    base: dict[str, Values],
    candidate: dict[str, Values],
    places: dict[str, tuple[int, ...]] | None = None,
) -> tuple[Verdict, dict[str, list[int]]]:
    """The verdict, and the examples that each test looked at, in their order."""
    steps, seen = suite_steps(suite, places), {test.name: list[int]() for test in suite.tests}
    parts = next(steps)

    def found(part: Part, values: dict[str, Values]) -> Found:
        taken = range(part.look.examples) if part.places is None else part.places
        return Measured(values[part.look.name][list(taken)])

    while True:
        for part in parts:
            seen[part.look.name] += range(part.look.examples) if part.places is None else part.places
        try:
            parts = steps.send([(found(part, base), found(part, candidate)) for part in parts])
        except StopIteration as stopped:
            return stopped.value, seen


def test_without_batches_it_is_the_verdict_on_everything_at_once() -> None:
    suite = SuiteConfig(tests=(asks("one", sequential=False), asks("two", sequential=False, supported=False)))
    base = {"one": answers(0.5, 1), "two": answers(0.5, 2)}
    candidate = {"one": answers(0.5, 3), "two": answers(0.1, 4)}
    verdict, seen = looked_at(suite, base, candidate)
    assert verdict == judge_models(
        suite,
        {name: Measured(values) for name, values in base.items()},
        {name: Measured(values) for name, values in candidate.items()},
    )
    assert seen == {"one": list(range(N)), "two": list(range(N))}


def test_a_clear_answer_needs_few_examples() -> None:
    suite = SuiteConfig(tests=(asks("one", sequential=True),))
    base = answers(0.5, 1)
    for candidate, passed in ((base, True), (np.zeros(N), False)):
        verdict, seen = looked_at(suite, {"one": base}, {"one": candidate})
        assert verdict.passed is passed
        assert len(seen["one"]) == verdict.tests[0].n < N / 3
        assert seen["one"] == list(range(len(seen["one"])))


def test_what_has_failed_for_good_ends_the_looking() -> None:
    suite = SuiteConfig(tests=(asks("whole", sequential=False), asks("batched", sequential=True)))
    base = {"whole": answers(0.9, 1), "batched": answers(0.5, 2)}
    verdict, seen = looked_at(suite, base, {"whole": answers(0.1, 3), "batched": base["batched"]})
    assert not verdict.passed
    assert len(seen["batched"]) == 8, "the first batch comes with what is looked at whole; no other follows"


def test_a_test_that_is_only_reported_ends_nothing() -> None:
    suite = SuiteConfig(tests=(asks("told", sequential=True, supported=False), asks("kept", sequential=True)))
    base = {"told": answers(0.9, 1), "kept": answers(0.5, 2)}
    verdict, _ = looked_at(suite, base, {"told": np.zeros(N), "kept": base["kept"]})
    assert verdict.passed
    assert [case.passed for case in verdict.tests] == [False, True]


def test_the_drawn_examples_are_looked_at_in_their_order() -> None:
    drawn = tuple(int(place) for place in np.random.default_rng(0).permutation(N)[:64])
    suite = SuiteConfig(tests=(asks("one", sequential=True), asks("two", sequential=False)))
    values = {"one": answers(0.5, 1), "two": answers(0.5, 2)}
    _, seen = looked_at(suite, values, values, {"one": drawn, "two": drawn})
    assert seen["one"] == list(drawn[: len(seen["one"])])
    assert seen["two"] == list(drawn)


@settings(deadline=None, max_examples=40)
@given(share=st.floats(0, 1), change=st.floats(-0.4, 0.4), seed=st.integers(0, 999), sequential=st.booleans())
def test_every_story_ends_and_looks_at_nothing_twice(share: float, change: float, seed: int, sequential: bool) -> None:
    suite = SuiteConfig(tests=(asks("one", sequential=True), asks("two", sequential=sequential)))
    base = {"one": answers(share, seed), "two": answers(share, seed + 1)}
    candidate = {name: answers(share + change, seed + 2) for name in base}
    verdict, seen = looked_at(suite, base, candidate)
    assert all(len(set(places)) == len(places) <= N for places in seen.values())
    assert [case.n for case in verdict.tests] == [len(seen["one"]), len(seen["two"])]


def of_first_part(answer: Callable[[Part], tuple[Found, Found]]) -> Verdict:
    steps = suite_steps(SuiteConfig(tests=(asks("one", sequential=True), asks("two", sequential=True))))
    parts = next(steps)
    with pytest.raises(StopIteration) as stopped:
        steps.send([answer(part) for part in parts])
    verdict = stopped.value.value
    assert isinstance(verdict, Verdict)
    return verdict


def test_a_candidate_that_cannot_be_measured_fails_at_once() -> None:
    some = Measured(np.ones(8))
    verdict = of_first_part(lambda part: (some, Failure("it crashed") if part.look.name == "one" else some))
    assert not verdict.passed
    assert "one could not be measured: it crashed" in verdict.reason


def test_a_base_that_cannot_be_measured_ends_it_without_a_verdict() -> None:
    with pytest.raises(AcceptanceError, match="fails on the base itself"):
        of_first_part(lambda part: (Failure("it crashed"), Measured(np.ones(8))))


def test_too_few_examples_for_a_test_in_batches_are_refused_with_how_many_it_takes() -> None:
    few = asks("one", sequential=True, margin=0.05).model_copy(update={"examples": 48})
    with pytest.raises(AcceptanceError, match="needs 69 examples, and there are 48"):
        require_enough(SuiteConfig(tests=(few,)))
    require_enough(SuiteConfig(tests=(few.model_copy(update={"examples": 69}),)))
    require_enough(SuiteConfig(tests=(few.model_copy(update={"sequential": False}),)))
