"""Several tests in batches: the suite goes on as long as its answer is open, and no longer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coordinator.acceptance.statistics.family import FamilyStep, Progress, next_batches
from coordinator.acceptance.statistics.holm import holm
from coordinator.acceptance.statistics.sequential import SequentialTest
from sequential_runs import answers

TEST = SequentialTest(0.05, 1.0, largest=120, batch=16)
NOTHING = TEST.decide(np.zeros(0))
Array = NDArray[np.float64]


def at(name: str, n: int, p: float, *, supported: bool = True, weight: float = 1.0) -> Progress:
    """A test that has come this far; it goes on by itself."""
    decision = replace(NOTHING, n=n, p_anytime=p, e_value=1 / p, answer="accept" if p <= 0.05 else "go on")
    return Progress(name, TEST, decision, supported, weight)


def suite(worsening: dict[str, Array], supported: dict[str, bool] | None = None) -> tuple[FamilyStep, dict[str, int]]:
    """Carry a suite through to its answer; says how many examples each test took."""
    seen = dict.fromkeys(worsening, 0)
    for _ in range(1000):
        progress = [
            Progress(name, TEST, TEST.decide(values_N[: seen[name]]), (supported or {}).get(name, True))
            for name, values_N in worsening.items()
        ]
        step = next_batches(progress, 0.05)
        if step.answer != "go on":
            return step, seen
        assert step.more
        for name, count in step.more.items():
            seen[name] += count
    raise AssertionError("no end")


def test_all_begin_with_a_batch() -> None:
    step = next_batches([at("a", 0, 1.0), at("b", 0, 1.0, supported=False)], 0.05)
    assert (step.answer, step.more) == ("go on", {"a": 16, "b": 16})
    assert step.reason == "1 of 1 supported tests are not sure yet: a"


def test_a_test_with_enough_evidence_for_its_place_waits_for_the_others() -> None:
    step = next_batches([at("a", 64, 0.001), at("b", 64, 0.04), at("c", 112, 0.2)], 0.05)
    assert step.answer == "go on"
    assert step.more == {"b": 16, "c": 8}


def test_when_all_are_sure_at_their_corrected_p_values_the_suite_is() -> None:
    step = next_batches([at("a", 64, 0.02), at("b", 48, 0.05)], 0.05)
    assert (step.answer, step.more) == ("accept", {})
    assert "after 112 examples (highest corrected p 0.05)" in step.reason
    assert next_batches([at("a", 64, 0.03), at("b", 48, 0.04)], 0.05).answer == "go on"


def test_a_weight_is_a_share_of_the_error_rate() -> None:
    assert next_batches([at("a", 64, 0.03), at("b", 48, 0.04, weight=3.0)], 0.05).answer == "go on"
    assert next_batches([at("a", 64, 0.012), at("b", 48, 0.04, weight=3.0)], 0.05).answer == "accept"


def test_one_rejected_test_ends_it_for_all() -> None:
    bad = Progress("bad", TEST, TEST.decide(np.ones(16)))
    step = next_batches([at("a", 16, 0.5), bad], 0.05)
    assert step.answer == "reject"
    assert step.reason.startswith("bad: +1 after 16 of 120 examples: it is worse")
    assert next_batches([at("a", 16, 0.5), replace(bad, supported=False)], 0.05).answer == "go on"


def test_what_cannot_pass_any_more_ends_it_at_once() -> None:
    step = next_batches([at("a", 16, 0.5), at("b", 120, 0.03), at("c", 120, 0.04)], 0.05)
    assert step.answer == "reject"
    assert "there are no more examples" in step.reason
    assert next_batches([at("a", 16, 0.5), at("b", 120, 0.03), at("c", 16, 0.04)], 0.05).answer == "go on"


@given(st.integers(0, 2**32), st.lists(st.sampled_from([-0.1, 0.0, 0.05, 0.2]), min_size=1, max_size=4))
@settings(deadline=None, max_examples=15)
def test_it_ends_and_says_what_the_tests_say(seed: int, means: list[float]) -> None:
    random = np.random.default_rng(seed)
    worsening = {f"t{i}": answers(0.05)(random, (1, TEST.largest), mean)[0] for i, mean in enumerate(means)}
    step, seen = suite(worsening)
    decisions = [TEST.decide(values_N[: seen[name]]) for name, values_N in worsening.items()]
    passed = all(p <= 0.05 for p in holm([decision.p_anytime for decision in decisions]))
    assert (step.answer == "accept") == passed
    assert max(seen.values()) <= TEST.largest


def test_tests_without_support_decide_nothing_and_stop_with_the_suite() -> None:
    good, bad = np.full(120, -1.0), np.ones(120)
    step, seen = suite({"good": good, "extra": bad}, {"extra": False})
    assert step.answer == "accept"
    assert seen["extra"] <= seen["good"]
    nothing, _ = suite({"extra": bad}, {"extra": False})
    assert (nothing.answer, nothing.reason) == (
        "accept",
        "all 0 supported tests are sure after 0 examples (highest corrected p 0)",
    )


def test_a_suite_with_one_worse_test_is_seldom_accepted() -> None:
    """Two good tests and one at the margin; and no chance is taken from stopping at different times."""
    random = np.random.default_rng(0)
    runs = 60
    accepted = 0
    for _ in range(runs):
        step, _ = suite(
            {
                "a": answers(0.05)(random, (1, 120), -0.1)[0],
                "b": answers(0.05)(random, (1, 120), -0.1)[0],
                "c": answers(0.05)(random, (1, 120), 0.05)[0],
            }
        )
        accepted += step.answer == "accept"
    assert accepted / runs <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize("answer", ["accept", "reject"])
def test_the_same_progress_gives_the_same_step(answer: str) -> None:
    values_N = np.full(120, -1.0 if answer == "accept" else 1.0)
    assert suite({"a": values_N, "b": values_N})[0] == suite({"a": values_N, "b": values_N})[0]
    assert suite({"a": values_N})[0].answer == answer
