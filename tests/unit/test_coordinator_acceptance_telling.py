"""What a verdict on hidden examples may tell."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.suite import AcceptanceTestConfig, DataSetConfig, SuiteConfig
from coordinator.acceptance.hidden.telling import is_hidden, told_of
from coordinator.acceptance.kinds import Measured
from coordinator.acceptance.suite import judge_models
from coordinator.acceptance.verdict import Verdict

N = 100
DIGEST = "b3:" + "0" * 64
OPEN = AcceptanceTestConfig(name="open", kind="loss", shard="text", examples=N, margin=0.05)
DRAWN = AcceptanceTestConfig(name="drawn", kind="loss", shard="text", examples=N, pool=4 * N, margin=0.05)
KEPT = AcceptanceTestConfig(name="kept", kind="accuracy", data="secret", examples=N, margin=0.1)
SIZE = AcceptanceTestConfig(name="size", kind="size")
SUITE = SuiteConfig(
    data={"secret": DataSetConfig(path="a.jsonl", digest=DIGEST, hidden=True)}, tests=(OPEN, DRAWN, KEPT, SIZE)
)


def judged(change: float, seed: int = 0) -> Verdict:
    draws = np.random.default_rng(seed)
    bits, right = draws.normal(3, 0.5, N), (draws.random(N) < 0.6).astype(np.float64)
    base = {"open": bits, "drawn": bits, "kept": right, "size": np.array([1000.0])}
    lost = np.where(draws.random(N) < max(0.0, change), 0.0, right)
    now = {"open": bits + change, "drawn": bits + change, "kept": lost, "size": np.array([1000.0])}
    return judge_models(SUITE, *({name: Measured(values) for name, values in found.items()} for found in (base, now)))


def test_a_test_is_hidden_when_its_examples_are_drawn_or_its_data_are() -> None:
    assert [is_hidden(test, SUITE) for test in SUITE.tests] == [False, True, True, False]


def test_open_tests_are_told_whole_and_hidden_ones_to_what_their_examples_carry() -> None:
    exact = judged(0.0123456)
    said = told_of(exact, SUITE)
    whole, drawn, kept, size = said.tests
    assert (whole, size) == (exact.tests[0], exact.tests[3])
    assert drawn.effect == pytest.approx(0.0)
    assert exact.tests[1].effect == pytest.approx(0.0123456)
    assert (drawn.n, drawn.margin, drawn.passed) == (N, 0.05, exact.tests[1].passed)
    assert drawn.reason == "drawn +0.00 bits/byte (to 0.05); worse by 0.05 is ruled out"
    assert (kept.worst, kept.worsened, kept.improved) == ((), 0, 0)
    assert exact.tests[2].worsened > 0
    json.dumps(said.as_json(), allow_nan=False)


@settings(deadline=None, max_examples=50)
@given(change=st.floats(-1, 1), seed=st.integers(0, 99))
def test_what_passed_and_what_failed_is_always_told(change: float, seed: int) -> None:
    exact = judged(change, seed)
    said = told_of(exact, SUITE)
    assert said.passed == exact.passed
    assert [case.passed for case in said.tests] == [case.passed for case in exact.tests]
    for case in said.tests[1:3]:
        for number in (case.effect, case.base_mean, case.candidate_mean, case.low, case.high):
            assert number == pytest.approx(round(number / 0.05) * 0.05, abs=1e-9)
    exact_effect = f"{exact.tests[1].effect:+.3f}"
    assert exact_effect not in said.tests[1].reason
