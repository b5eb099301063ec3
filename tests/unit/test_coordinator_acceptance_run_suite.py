"""A suite on two models: what is measured, how often, and what becomes of a test that goes wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from barnraise.errors import AcceptanceError, MissingExtraError
from barnraise.suite import SuiteConfig
from coordinator.acceptance.examples import NOTHING
from coordinator.acceptance.kept import KeptValues
from coordinator.acceptance.measuring import measure
from coordinator.acceptance.run_suite import AtHand, Contender, RunOptions, SuiteRun, run_suite
from coordinator.acceptance.suite import judge_models
from suite_runs import SUITE, WINDOWS, contender, crashing, examples_of, first, knowing, skipping, small_run

A, B = knowing(97), knowing(98)


def states(run: SuiteRun) -> dict[str, str]:
    return {one.test.name: one.state for one in run.outcomes}


def test_the_verdict_is_that_of_the_same_values() -> None:
    run = small_run()
    for_base, for_candidate = (
        {
            test.name: measure(contender("", flat_P).open(), test, at.examples.take(range(test.examples)))
            for test, at in ((test, examples_of(test)) for test in SUITE.tests)
        }
        for flat_P in (B, A)
    )
    assert run.verdict == judge_models(SUITE, for_base, for_candidate)
    assert run.reason == run.verdict.reason
    assert states(run) == {"loss-text": "failed", "ends": "failed", "ends-hidden": "passed"}
    assert [one.test.name for one in run.failed] == ["loss-text", "ends"]
    assert [one.case for one in run.outcomes] == list(run.verdict.tests)


def test_a_model_is_as_good_as_itself_and_measured_once() -> None:
    opened: list[str] = []
    run = run_suite(SUITE, contender("again", A, opened), contender("same", A, opened), examples_of)
    assert run.verdict is not None
    assert run.verdict.passed
    assert not run.failed
    assert opened == ["same"]


def test_what_was_kept_is_not_measured_again(tmp_path: Path) -> None:
    opened: list[str] = []

    def again(*, options: RunOptions | None) -> SuiteRun:
        return run_suite(SUITE, contender("new", A, opened), contender("old", B, opened), examples_of, options)

    kept = RunOptions(KeptValues(tmp_path / "measured"))
    one = again(options=kept)
    assert opened == ["old", "new"]
    two = again(options=kept)
    assert opened == ["old", "new"]
    assert two.verdict == one.verdict
    assert [outcome.seconds for outcome in two.outcomes] == [0.0, 0.0, 0.0]
    again(options=None)
    assert opened == ["old", "new", "old", "new"]


def test_a_damaged_value_is_measured_again(tmp_path: Path) -> None:
    kept = RunOptions(KeptValues(tmp_path / "measured"))
    once = run_suite(SUITE, contender("new", A), contender("old", B), examples_of, kept)
    for number, path in enumerate(sorted((tmp_path / "measured").iterdir())):
        path.write_text(["", "[1]", '{"values": [NaN], "notes": {}}', '{"values": "x", "notes": {}}'][number % 4])
    assert run_suite(SUITE, contender("new", A), contender("old", B), examples_of, kept).verdict == once.verdict


def test_without_a_base_everything_is_measured_and_nothing_judged() -> None:
    run = run_suite(SUITE, contender("alone", A), None, examples_of)
    assert run.verdict is None
    assert set(states(run).values()) == {"measured"}
    assert run.reason == "nothing to compare with: 3 tests were measured"
    assert not run.failed


@pytest.mark.parametrize("error", [RuntimeError("no such\n  shape"), MemoryError(), ZeroDivisionError("x")])
def test_a_test_that_crashes_on_the_candidate_fails_alone(error: Exception) -> None:
    run = small_run(crashing(error))
    assert set(states(run).values()) == {"crashed"}
    assert run.verdict is not None
    assert not run.verdict.passed
    assert type(error).__name__ in run.outcomes[0].reason
    assert "\n" not in run.outcomes[0].reason
    assert [one.test.name for one in run.failed] == ["loss-text", "ends"]
    alone = run_suite(SUITE, crashing(error), None, examples_of)
    assert alone.verdict is None
    assert [one.test.name for one in alone.failed] == ["loss-text", "ends"]
    assert "could not measure the model" in alone.reason


def test_a_test_that_crashes_on_the_base_is_an_error_of_the_suite() -> None:
    with pytest.raises(AcceptanceError, match=r"loss-text fails on the base itself \(broken 0.0.1\).*RuntimeError: oh"):
        small_run(base=crashing(RuntimeError("oh")))


def test_a_test_that_no_model_passes_any_more_is_an_error_of_the_suite(tmp_path: Path) -> None:
    kept = RunOptions(KeptValues(tmp_path / "measured"))
    run_suite(SUITE, contender("new", A), contender("old", B), examples_of, kept)
    broken = crashing(OSError("the disk is gone"))
    base = Contender("old", contender("old", B).digest, broken.open)
    with pytest.raises(AcceptanceError, match=r"fails on the base itself \(old\).*the disk is gone"):
        run_suite(SUITE, broken, base, examples_of, kept)


def test_what_this_machine_lacks_is_no_fault_of_a_model() -> None:
    with pytest.raises(MissingExtraError):
        small_run(crashing(MissingExtraError("this needs lm_eval")))


def test_a_test_that_takes_too_long_fails() -> None:
    tests = tuple(test.model_copy(update={"timeout_s": 0.5}) for test in SUITE.tests)
    with pytest.raises(AcceptanceError, match=r"it took 1.0 s, at most 0.5 s"):  # the clock of small_run ticks once
        small_run(suite=SUITE.model_copy(update={"tests": tests}))


def test_what_cannot_be_run_here_is_left_out_with_a_word() -> None:
    run = run_suite(SUITE, contender("new", A), contender("old", B), skipping("ends"))
    assert states(run) == {"loss-text": "passed", "ends": "skipped", "ends-hidden": "passed"}
    assert run.verdict is not None
    assert [case.name for case in run.verdict.tests] == ["loss-text", "ends-hidden"]
    assert run.reason.endswith("; not run here: ends")
    with pytest.raises(AcceptanceError, match="no test of the suite can be run here: nothing is"):
        run_suite(SUITE, contender("new", A), None, lambda test: AtHand(skip="nothing is"))


def test_too_few_examples_stop_the_suite_before_anything_is_measured() -> None:
    opened: list[str] = []
    with pytest.raises(AcceptanceError, match="loss-text looks at 24 examples, shard 'text' has 0"):
        run_suite(SUITE, contender("new", A, opened), None, lambda test: AtHand(NOTHING))
    assert opened == []


def test_an_option_that_no_kind_has_stops_the_suite() -> None:
    bad = SUITE.tests[0].model_copy(update={"options": {"colour": "red"}})
    with pytest.raises(AcceptanceError, match="colour"):
        small_run(suite=SUITE.model_copy(update={"tests": (bad,)}))


def test_whoever_watches_hears_of_every_measurement() -> None:
    heard: list[tuple[str, ...]] = []

    class Watching:
        def begins(self, test: str, of: str) -> None:
            heard.append((test, of))

        def ends(self, test: str, of: str, said: str) -> None:
            heard.append((test, of, said))

    run_suite(SUITE, contender("new", A), contender("old", A), examples_of, RunOptions(watch=Watching()))
    assert len(heard) == 12
    assert heard[0] == ("loss-text", "base")
    assert heard[-1] == ("ends-hidden", "candidate", heard[-1][2])
    assert heard[-1][2].endswith("known before")


def test_a_broken_model_knows_nothing_and_fails() -> None:
    run = small_run(contender("nan", np.full_like(first()[1], np.nan)))
    assert [one.state for one in run.outcomes][:2] == ["failed", "failed"]


def in_batches(examples: int = 96) -> SuiteConfig:
    test = {"name": "loss", "kind": "loss", "shard": "text", "examples": examples, "margin": 6.0, "sequential": True}
    return SuiteConfig.model_validate({"tests": [test]})


def test_a_test_in_batches_stops_when_it_is_sure() -> None:
    run = small_run(suite=in_batches(), candidate=contender("same", B))
    (outcome,) = run.outcomes
    assert outcome.state == "passed"
    assert outcome.base is not None
    assert outcome.case is not None
    assert outcome.case.n == len(outcome.base.values_N) == len(outcome.examples) < 96
    assert outcome.case.method == "e-process"


def test_batches_together_are_the_examples_in_their_order() -> None:
    run = small_run(suite=in_batches())
    (outcome,) = run.outcomes
    assert outcome.examples.windows is not None
    assert outcome.candidate is not None
    seen = len(outcome.candidate.values_N)
    assert np.array_equal(outcome.examples.windows, WINDOWS[:seen])
    whole = measure(contender("", A).open(), in_batches().tests[0], outcome.examples)
    assert outcome.candidate.values_N.tolist() == pytest.approx(whole.values_N.tolist(), rel=1e-5)


def test_tests_without_examples() -> None:
    tests = [
        {"name": "small", "kind": "size", "margin": 0.1},
        {"name": "quick", "kind": "latency", "margin": 1000.0, "options": {"tokens": 8}},
        {"name": "shape", "kind": "signature", "options": {"outputs": "logits float32 [B, T, 256]"}},
    ]
    run = small_run(suite=SuiteConfig.model_validate({"tests": tests}))
    assert [one.state for one in run.outcomes] == ["passed", "passed", "passed"], [one.reason for one in run.outcomes]


def test_how_quick_a_model_is_was_never_kept(tmp_path: Path) -> None:
    opened: list[str] = []
    suite = SuiteConfig.model_validate(
        {"tests": [{"name": "quick", "kind": "latency", "margin": 1000.0, "options": {"tokens": 8}}]}
    )
    for _ in range(2):
        run_suite(suite, contender("new", A, opened), None, examples_of, RunOptions(KeptValues(tmp_path / "measured")))
    assert opened == ["new", "new"]
    assert not (tmp_path / "measured").exists()
