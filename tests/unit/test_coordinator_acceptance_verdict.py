"""What passes, what does not, and how often the statistics are wrong when they may be."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from barnraise.suite import AcceptanceTestConfig
from coordinator.acceptance.metric import BYTES, SHARE, Metric
from coordinator.acceptance.statistics.budget import within_budget
from coordinator.acceptance.statistics.comparison import SHOWN
from coordinator.acceptance.statistics.mcnemar import any_difference
from coordinator.acceptance.statistics.proportions import paired_drop
from coordinator.acceptance.statistics.resampling import LOWEST_P, below_zero, mean_interval
from coordinator.acceptance.statistics.sequential import SequentialTest
from coordinator.acceptance.verdict import PairedScores, judge, ruled

Scores = NDArray[np.float64]


def paired(
    base: Scores,
    candidate: Scores,
    *,
    name: str = "loss-text",
    kind: Literal["loss", "accuracy"] = "loss",
    margin: float = 0.05,
    supported: bool = True,
) -> PairedScores:
    test = AcceptanceTestConfig(
        name=name, kind=kind, shard="text", examples=max(8, len(base)), margin=margin, supported=supported
    )
    return PairedScores(test, base, candidate)


def losses(count: int, seed: int = 0) -> Scores:
    return np.random.default_rng(seed).normal(3.0, 0.6, count)


def noise(count: int, seed: int, spread: float = 0.1) -> Scores:
    return np.random.default_rng(1000 + seed).normal(0.0, spread, count)


def answers(right: int, of: int) -> Scores:
    return np.array([1.0] * right + [0.0] * (of - right))


def test_a_clear_gain_passes_with_its_numbers() -> None:
    base = losses(48)
    verdict = judge([paired(base, base - 0.3 + noise(48, 1))], 0.05, 0)
    (case,) = verdict.tests
    assert verdict.passed
    assert case.p == LOWEST_P
    assert case.low < case.effect < case.high < 0
    assert case.effect == pytest.approx(-0.3, abs=0.05)
    assert "loss-text" in case.reason
    assert "ruled out" in case.reason
    assert f"{case.candidate_mean:.3f} bits/byte" in case.reason


def test_a_clear_loss_fails_and_the_reason_names_it() -> None:
    base = losses(48)
    good = paired(base, base - 0.2, name="loss-good")
    verdict = judge([good, paired(base, base + 0.2 + noise(48, 2))], 0.05, 0)
    assert not verdict.passed
    assert verdict.reason.startswith("1 of 2 supported tests are not shown to be non-inferior: loss-text")
    assert [case.passed for case in verdict.tests] == [True, False]


def test_a_worsening_well_inside_the_margin_passes_and_one_beyond_does_not() -> None:
    base = losses(64)
    assert judge([paired(base, base + 0.01 + noise(64, 3, 0.02))], 0.05, 0).passed
    assert not judge([paired(base, base + 0.06 + noise(64, 3, 0.02))], 0.05, 0).passed


def test_too_little_evidence_does_not_pass() -> None:
    base = losses(8)
    assert not judge([paired(base, base + noise(8, 4, 1.0))], 0.05, 0).passed


@given(count=st.integers(8, 64), tests=st.integers(1, 20), kind=st.sampled_from(["loss", "accuracy"]))
@settings(deadline=None, max_examples=20)
def test_identical_scores_pass_however_few_or_many(count: int, tests: int, kind: Literal["loss", "accuracy"]) -> None:
    base = losses(count) if kind == "loss" else answers(count // 2, count)
    verdict = judge([paired(base, base.copy(), name=f"t{i}", kind=kind) for i in range(tests)], 0.05, 0)
    assert verdict.passed
    assert all(case.effect == case.low == case.high == 0 for case in verdict.tests)


def test_a_test_without_support_is_reported_and_does_not_decide() -> None:
    base = losses(32)
    verdict = judge([paired(base, base), paired(base, base + 1, name="extra", supported=False)], 0.05, 0)
    assert verdict.passed
    assert [case.passed for case in verdict.tests] == [True, False]
    alone = judge([paired(base, base + 1, supported=False)], 0.05, 0)
    assert alone.passed
    assert "nothing is promised" in alone.reason


def test_the_same_scores_give_the_same_verdict_whatever_other_tests_there_are() -> None:
    base = losses(40)
    case = paired(base, base + noise(40, 5))
    assert judge([case], 0.05, 7) == judge([case], 0.05, 7)
    (alone,) = judge([case], 0.05, 7).tests
    beside = judge([paired(base, base - 1, name="other"), case], 0.05, 7).tests[1]
    assert (beside.p, beside.low, beside.high) == (alone.p, alone.low, alone.high)


def test_accuracy_is_better_when_higher() -> None:
    base, better, worse = answers(100, 256), answers(140, 256), answers(60, 256)
    assert judge([paired(base, better, kind="accuracy", margin=0.1)], 0.05, 0).passed
    assert not judge([paired(base, worse, kind="accuracy", margin=0.1)], 0.05, 0).passed


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_stops_the_suite(bad: float) -> None:
    base, broken = losses(16), losses(16)
    broken[3] = bad
    for pair in (paired(base, broken), paired(broken, base)):
        with pytest.raises(AcceptanceError, match="1 of 16 examples"):
            judge([pair], 0.05, 0)


def test_missing_scores_stop_the_suite() -> None:
    with pytest.raises(AcceptanceError, match="expected one an example"):
        judge([paired(losses(16), losses(15))], 0.05, 0)
    with pytest.raises(AcceptanceError, match="expected one an example"):
        judge([paired(losses(0), losses(0))], 0.05, 0)


def test_a_verdict_is_plain_json() -> None:
    base = losses(16)
    verdict = judge([paired(base, base - 0.2)], 0.05, 0)
    report = json.loads(json.dumps(verdict.as_json(), allow_nan=False))
    assert report["tests"][0]["name"] == "loss-text"
    (case,) = verdict.tests
    numbers = {
        "mean": case.candidate_mean,
        "base_mean": case.base_mean,
        "effect": case.effect,
        "low": case.low,
        "high": case.high,
        "confidence": 0.9,
        "p": case.p_holm,
        "passed": True,
        "supported": True,
        "unit": "bits/byte",
        "n": 16,
        "margin": 0.05,
        "method": "sign flips",
        "worsened": 0,
        "improved": 16,
        "reason": case.reason,
    }
    assert verdict.summary()["loss-text"].items() >= numbers.items()


def test_a_flipped_answer_is_counted_and_named() -> None:
    base, candidate = answers(60, 100), answers(60, 100)
    candidate[[3, 17, 41]] = 0.0
    candidate[[80, 99]] = 1.0
    (case,) = judge([paired(base, candidate, kind="accuracy", margin=0.2)], 0.05, 0).tests
    assert (case.worsened, case.improved) == (3, 2)
    assert (case.worst, case.best) == ((3, 17, 41), (80, 99))
    assert case.method == "paired score test"
    assert case.p_difference == any_difference(3, 2) == 1.0
    assert case.effect == pytest.approx(-0.01)
    assert case.low < case.effect < case.high
    assert case.low > -0.2  # what is ruled out lies outside
    assert case.passed
    assert "3 lost and 2 gained of 100" in case.reason


def test_a_report_names_the_examples_that_worsened_most() -> None:
    base = losses(40)
    candidate = base - 0.2 + noise(40, 6, 0.01)
    candidate[[5, 30]] = base[[5, 30]] + [0.1, 0.4]
    (case,) = judge([paired(base, candidate)], 0.05, 0).tests
    assert (case.worsened, case.improved, case.worst) == (2, 38, (30, 5))
    assert len(case.best) == SHOWN
    assert (case.method, case.p_difference) == ("sign flips", 2 * LOWEST_P)
    assert json.loads(json.dumps(judge([paired(base, candidate)], 0.05, 0).as_json()))["tests"][0]["worst"] == [30, 5]


def test_of_a_difference_without_direction_nothing_depends() -> None:
    """Worse for sure, but by less than the margin: passed, and said to be different."""
    base = losses(64)
    (case,) = judge([paired(base, base + 0.01 + noise(64, 3, 0.004))], 0.05, 0).tests
    assert case.passed
    assert case.p_difference <= 0.001


@pytest.mark.parametrize("metric", [SHARE, Metric("share", higher_is_better=False, binary=True)])
def test_the_metric_says_which_way_is_better(metric: Metric) -> None:
    fewer = replace(paired(answers(140, 256), answers(60, 256), kind="loss", margin=0.1), metric=metric)
    (case,) = judge([fewer], 0.05, 0).tests
    assert case.passed == (not metric.higher_is_better)
    assert case.effect == pytest.approx(-80 / 256)
    assert case.low < case.effect < case.high < 0


def test_a_test_in_batches_brings_its_own_p_value_and_interval() -> None:
    base = losses(400)
    candidate = base - 0.1 + noise(400, 8)
    test = SequentialTest(0.05, 0.5, largest=400)
    decision = test.decide((candidate - base)[:64])
    early = replace(paired(base[:64], candidate[:64]), decision=decision)
    verdict = judge([early, paired(base, candidate, name="all")], 0.05, 0)
    assert verdict.passed
    case = verdict.tests[0]
    assert (case.n, case.method, case.p) == (64, "e-process", decision.p_anytime)
    assert (case.low, case.high, case.confidence) == (decision.low, decision.high, 0.9)
    with pytest.raises(AcceptanceError, match="decided on 64 examples, there are scores of 400"):
        judge([replace(paired(base, candidate), decision=decision)], 0.05, 0)


def test_what_a_test_in_batches_rejected_does_not_pass() -> None:
    order = np.random.default_rng(0).permutation(300)
    base, candidate = answers(200, 300)[order], answers(100, 300)[order]
    decision = SequentialTest(0.05, 1.0, largest=300).decide(base - candidate)
    (case,) = judge([replace(paired(base, candidate, kind="accuracy"), decision=decision)], 0.05, 0).tests
    assert decision.answer == "reject"
    assert not case.passed
    assert case.low < case.effect < case.high < 0  # of the share, which fell
    assert (case.low, case.high) == (-decision.high, -decision.low)


def test_a_heavier_test_gets_a_larger_share_of_the_error_rate() -> None:
    base = losses(24)
    weak = paired(base, base + noise(24, 9, 0.11), name="weak")
    others = [paired(base, base + 0.01 + noise(24, seed, 0.12), name=f"o{seed}") for seed in range(4)]
    heavy = replace(weak, test=weak.test.model_copy(update={"weight": 20.0}))
    first, second = (judge([pair, *others], 0.05, 0).tests[0] for pair in (weak, heavy))
    assert first.p == second.p
    assert second.p_holm < first.p_holm


def test_a_ruling_counts_as_a_test_does() -> None:
    base = losses(32)
    good = paired(base, base - 0.3 + noise(32, 1))
    budget = AcceptanceTestConfig(name="size", kind="size")
    for cost, passes in ((1.1, True), (1.3, False)):
        found = within_budget(1.0, cost, None, 0.2, "bytes")
        ruling = ruled(budget, BYTES, 1.0, cost, (found.passed, found.reason))
        verdict = judge([good], 0.05, 0, decided=[ruling])
        assert verdict.passed is passes
        assert [case.name for case in verdict.tests] == ["loss-text", "size"]
        assert verdict.tests[0] == judge([good], 0.05, 0).tests[0]
        assert json.dumps(verdict.as_json(), allow_nan=False)
        assert judge([], 0.05, 0, decided=[replace(ruling, supported=False)]).passed
    assert "size 1 -> 1.3 bytes (1.3 times its base); over budget" in verdict.reason


def test_sign_flips_agree_with_counting_all_of_them() -> None:
    values = np.array([-0.9, -0.4, 0.3, -0.7, -0.2, 0.1, -0.5, -0.6])
    signs = 1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
    exact = np.mean(signs @ values <= values.sum() + 1e-9)
    assert below_zero(values, np.random.default_rng(0)) == pytest.approx(exact, abs=0.01)


def test_the_level_is_kept_at_the_margin() -> None:
    """Skewed worsening of exactly the margin on average: wrongly passed about 5 times of 100, not much more."""
    passed = 0
    for seed in range(100):
        draws = np.random.default_rng(seed)
        worsening = draws.gamma(2.0, 0.05, 48) - 0.05  # mean 0.05, the margin
        passed += below_zero(worsening - 0.05, draws) <= 0.05
    assert passed <= 100 * 0.12


def test_the_score_test_keeps_its_level_where_few_answers_differ() -> None:
    """Exact chance of passing when a tenth of the answers is truly lost and none gained."""
    for examples in (16, 48, 256):
        lost_chance = 0.9**examples
        wrongly = 0.0
        for lost in range(examples):
            if paired_drop(lost, 0, examples, 0.1) <= 0.05:
                wrongly += lost_chance
            lost_chance *= (examples - lost) / (lost + 1) / 9
        assert wrongly <= 0.06, examples


@pytest.mark.parametrize(("lost", "gained", "examples", "margin"), [(3, 7, 48, 0.1), (9, 0, 48, 0.05), (1, 0, 20, 0.3)])
def test_the_score_test_solves_the_likelihood(lost: int, gained: int, examples: int, margin: float) -> None:
    shares = np.linspace(1e-9, (1 - margin) / 2 - 1e-9, 200_001)
    with np.errstate(divide="ignore"):
        log_likelihood = (
            lost * np.log(shares + margin)
            + gained * np.log(shares)
            + (examples - lost - gained) * np.log(1 - 2 * shares - margin)
        )
    share = float(shares[np.argmax(log_likelihood)])
    z = ((lost - gained) / examples - margin) / math.sqrt((2 * share + margin - margin**2) / examples)
    below = 0.5 * math.erfc(-z / math.sqrt(2))
    assert paired_drop(lost, gained, examples, margin) == pytest.approx(below, abs=1e-4)


def test_more_losses_are_never_better_evidence() -> None:
    ps = [paired_drop(lost, 4, 64, 0.1) for lost in range(40)]
    assert ps == sorted(ps)
    assert paired_drop(10, 0, 10, 1.5) == 0.0


def test_the_bootstrap_covers_the_mean() -> None:
    covered = 0
    for seed in range(100):
        draws = np.random.default_rng(seed)
        low, high = mean_interval(draws.normal(1.0, 2.0, 40), 0.9, draws)
        covered += low <= 1.0 <= high
    assert 80 <= covered <= 98
