"""Laws of tests in batches: how often they are wrong, that batches do not matter, and what they save."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from coordinator.acceptance.metric import BITS_PER_BYTE, BITS_PER_TOKEN, BRIER, SHARE
from coordinator.acceptance.statistics.sequential import Decision, SequentialTest, log_money, reach_of
from sequential_runs import Draw, answers, heavy_tails, outcomes, simulate, skewed

Array = NDArray[np.float64]

MARGIN = 0.05
RUNS = 600
BY_CHANCE = 4 * math.sqrt(0.05 * 0.95 / RUNS)
"""What chance may add to a rate of 5% in so many runs: four standard errors."""

ANSWERS = SequentialTest(MARGIN, reach=1.0, largest=600)
BITS = SequentialTest(MARGIN, reach=10 * MARGIN, largest=250)
DATA = pytest.mark.parametrize(
    ("test", "draw"),
    [
        (ANSWERS, answers(0.04)),
        (ANSWERS, answers(0.2)),
        (BITS, heavy_tails(2 * MARGIN)),
        (BITS, heavy_tails(4 * MARGIN)),
        (BITS, skewed(3 * MARGIN)),
    ],
    ids=["4% differ", "20% differ", "tails", "wide tails", "skewed"],
)
differences = st.lists(st.floats(-2, 2), min_size=1, max_size=60).map(np.array)


def as_decided(test: SequentialTest, worsening_N: Array) -> Decision:
    """Batch after batch, until there is an answer."""
    n, decision = 0, test.decide(worsening_N[:0])
    while decision.answer == "go on":
        n = min(n + test.batch, test.largest)
        decision = test.decide(worsening_N[:n])
    return decision


@DATA
def test_what_is_worse_by_the_margin_is_seldom_accepted(test: SequentialTest, draw: Draw) -> None:
    never_rejected = SequentialTest(test.margin, test.reach, test.largest, beta=1e-9)
    assert simulate(test, draw, MARGIN, RUNS, seed=1).accepted.mean() <= 0.05 + BY_CHANCE
    assert simulate(never_rejected, draw, MARGIN, RUNS, seed=2).accepted.mean() <= 0.05 + BY_CHANCE


@DATA
def test_what_is_no_worse_is_seldom_rejected_on_evidence(test: SequentialTest, draw: Draw) -> None:
    never_accepted = SequentialTest(test.margin, test.reach, test.largest, alpha=1e-9)
    assert simulate(test, draw, 0.0, RUNS, seed=3).on_evidence.mean() <= 0.05 + BY_CHANCE
    assert simulate(never_accepted, draw, 0.0, RUNS, seed=4).on_evidence.mean() <= 0.05 + BY_CHANCE


@DATA
def test_clear_cases_end_early_with_the_right_answer(test: SequentialTest, draw: Draw) -> None:
    better = simulate(test, draw, -2 * MARGIN, RUNS, seed=5)
    assert better.accepted.mean() >= 0.99
    worse = simulate(test, draw, 3 * MARGIN, RUNS, seed=6)
    assert worse.on_evidence.mean() >= 0.99
    assert max(better.n.mean(), worse.n.mean()) <= test.largest / 5


@given(st.integers(0, 2**32), st.sampled_from([-2, 0, 1, 3]))
@settings(deadline=None, max_examples=10)
def test_the_interval_misses_the_mean_no_more_often_than_it_may_at_any_time(seed: int, effect: int) -> None:
    """Ruled out at some time means that the money against the true mean was enough at some time."""
    mean = effect * MARGIN
    worsening_RN = answers(0.2)(np.random.default_rng(seed), (RUNS, 200), mean)
    enough = math.log(1 / ANSWERS.alpha)
    for money_RN in (
        ANSWERS.log_money_against_worse(worsening_RN, mean),
        ANSWERS.log_money_against_no_worse(worsening_RN, mean),
    ):
        assert (money_RN.max(axis=1) >= enough).mean() <= 0.05 + BY_CHANCE


@given(st.integers(0, 2**32), st.floats(-0.1, 0.2), st.sampled_from([3, 8, 50]))
@settings(deadline=None, max_examples=8)
def test_an_answer_does_not_depend_on_the_batches(seed: int, mean: float, batch: int) -> None:
    worsening_N = answers(0.1)(np.random.default_rng(seed), (1, 300), mean)[0]
    in_batches = as_decided(SequentialTest(MARGIN, 1.0, 300, batch=batch), worsening_N)
    at_once = SequentialTest(MARGIN, 1.0, 300).decide(worsening_N)
    assert in_batches.answer == at_once.answer
    assert in_batches.n % batch == 0 or in_batches.n == 300


@given(st.integers(0, 2**32), st.sampled_from([-2, 0, 1, 3]))
@settings(deadline=None, max_examples=8)
def test_simulations_decide_as_the_test_does(seed: int, effect: int) -> None:
    worsening_RN = heavy_tails(0.15)(np.random.default_rng(seed), (2, BITS.largest), effect * MARGIN)
    found = outcomes(BITS, worsening_RN)
    for run, worsening_N in enumerate(worsening_RN):
        decision = as_decided(BITS, worsening_N)
        assert (decision.answer == "accept") == found.accepted[run]
        assert decision.n == found.n[run]


@given(differences, st.integers(0, 60))
@settings(deadline=None, max_examples=30)
def test_evidence_is_never_taken_back(worsening_N: Array, part: int) -> None:
    test = SequentialTest(MARGIN, 0.5, 1000)
    before, after = test.decide(worsening_N[:part]), test.decide(worsening_N)
    assert after.p_anytime <= before.p_anytime <= 1
    assert after.low >= before.low - 1e-9
    assert after.high <= before.high + 1e-9
    assert before.answer in ("go on", after.answer)


@given(differences)
@settings(deadline=None, max_examples=30)
def test_what_is_accepted_has_the_margin_outside_its_interval(worsening_N: Array) -> None:
    decision = SequentialTest(MARGIN, 0.5, 1000).decide(worsening_N)
    if decision.answer == "accept":
        assert decision.p_anytime <= 0.05
        assert decision.high <= MARGIN + 1e-9
    if decision.answer == "reject":
        assert decision.e_worse >= 20
        assert decision.low >= -1e-9
        assert decision.p_anytime > 0.05


@given(differences, st.integers(0, 59), st.floats(0, 5))
@settings(deadline=None, max_examples=50)
def test_one_more_loss_never_helps(worsening_N: Array, at: int, loss: float) -> None:
    test = SequentialTest(MARGIN, 0.5, 1000)
    hurt_N = worsening_N.copy()
    hurt_N[at % len(hurt_N)] += loss
    assert (test.log_money_against_worse(hurt_N, MARGIN) <= test.log_money_against_worse(worsening_N, MARGIN)).all()
    assert (test.log_money_against_no_worse(hurt_N) >= test.log_money_against_no_worse(worsening_N)).all()


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12), st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_nothing_is_won_on_average_from_what_is_fair(wins: list[float], share: float) -> None:
    """One example with a mean of zero, from any point of any game: the money expected is the money had."""
    stakes_S = np.array([1.0, 0.5, 0.25])
    before = float(np.exp(log_money(np.array(wins), stakes_S))[-1])
    up = 1 - share  # up with chance ``share``, down by ``share`` with the rest
    after = [float(np.exp(log_money(np.array([*wins, win]), stakes_S))[-1]) for win in (up, -share)]
    assert share * after[0] + (1 - share) * after[1] == pytest.approx(before, abs=1e-9)


def test_the_first_answer_stays_whatever_comes_later() -> None:
    test = SequentialTest(MARGIN, 0.5, 400)
    losses_N, gains_N = np.full(40, 0.2), np.full(300, -0.2)
    first_worse = test.decide(np.concatenate([losses_N, gains_N]))
    assert first_worse.answer == test.decide(losses_N).answer == "reject"
    assert first_worse.p_anytime == test.decide(losses_N).p_anytime > 0.05
    first_better = test.decide(np.concatenate([gains_N[:20], np.tile(losses_N, 3)]))
    assert first_better.answer == test.decide(gains_N[:20]).answer == "accept"
    assert first_better.e_worse > 20


def test_money_by_hand() -> None:
    money_N = np.exp(log_money(np.array([0.5, -1.0, 1.0, -7.0]), np.array([1.0, 0.5])))
    assert money_N.tolist() == pytest.approx([(1.5 + 1.25) / 2, 0.625 / 2, 0.9375 / 2, 0.0])


def test_what_is_won_from_one_example_is_cut_off_and_what_is_lost_is_not() -> None:
    test = SequentialTest(MARGIN, 0.5, 100)
    assert test.decide(np.array([-60.0])).e_value == test.decide(np.array([-0.5])).e_value < 20
    assert test.decide(np.array([60.0])).e_worse == test.decide(np.array([0.5])).e_worse < 20
    good_N = np.full(40, -0.01)
    assert test.decide(good_N).answer == "accept"
    good_N[5] = 4.0
    decision = test.decide(good_N)
    assert decision.answer == "go on"
    assert decision.beyond_reach == 1
    assert decision.p_anytime > 0.5


def test_no_answer_lost_at_all_is_not_enough_at_once() -> None:
    """With a margin of 5% no test can accept before it has seen about 60 answers, however equal they are."""
    decision = as_decided(SequentialTest(MARGIN, 1.0, 300, batch=4), np.zeros(300))
    assert decision.answer == "accept"
    assert 58 <= decision.n <= 100


@given(st.floats(0.001, 0.3), st.sampled_from([0.5, 1.0]), st.sampled_from([50, 400, 3000]), st.floats(0.001, 0.2))
@settings(deadline=None, max_examples=40)
def test_how_many_equal_examples_are_enough_is_known_beforehand(
    margin: float, reach: float, largest: int, level: float
) -> None:
    test = SequentialTest(margin, reach, largest)
    needed = test.fewest(level)
    money_N = np.exp(test.log_money_against_worse(np.zeros(needed), margin))
    assert money_N[-1] >= (1 - 1e-9) / level
    assert needed == 1 or money_N[-2] < (1 + 1e-9) / level


def test_too_few_examples_are_no_acceptance() -> None:
    test = SequentialTest(MARGIN, 1.0, 32)
    decision = test.decide(np.zeros(32))
    assert decision.answer == "reject"
    assert "there are no more examples" in decision.reason
    assert decision.e_worse == 1
    first = test.decide(np.zeros(0))
    assert (first.answer, first.low, first.high, first.p_anytime) == ("go on", -1.0, 1.0, 1.0)


def test_a_reason_has_the_numbers_and_a_decision_is_plain_json() -> None:
    worse = as_decided(BITS, np.full(250, 0.2))
    assert "it is worse, e" in worse.reason
    assert f"after {worse.n} of 250 examples" in worse.reason
    better = as_decided(BITS, np.full(250, -0.2))
    assert "worse by 0.05 is ruled out" in better.reason
    json.dumps([asdict(better), asdict(worse), asdict(BITS.decide(np.full(250, -0.5)))], allow_nan=False)


def test_the_smallest_stake_is_one_that_can_still_win() -> None:
    for largest in (20, 100, 600, 5000):
        test = SequentialTest(MARGIN, 1.0, largest)
        stakes_S = test.stakes
        assert stakes_S.tolist() == sorted(stakes_S, reverse=True)
        assert stakes_S[0] == 1.0
        grown = stakes_S[-1] * MARGIN / 2 * largest
        assert len(stakes_S) == 2 or math.log(20) <= grown < 2 * math.log(20) * 1.01


def test_how_far_an_example_reaches() -> None:
    assert reach_of(SHARE, 0.02) == 1.0
    assert reach_of(BRIER, 0.02) == pytest.approx(0.2)
    assert reach_of(BRIER, 0.3) == 1.0
    assert reach_of(BITS_PER_BYTE, 0.05) == reach_of(BITS_PER_TOKEN, 0.05) == 0.5


@pytest.mark.parametrize(
    ("margin", "reach", "largest", "alpha"),
    [(0.0, 1.0, 9, 0.05), (1.0, 1.0, 9, 0.05), (0.1, 1.0, 0, 0.05), (0.1, 1.0, 9, 0.0), (0.1, 1.0, 9, 1.0)],
)
def test_a_test_that_cannot_be_is_refused(margin: float, reach: float, largest: int, alpha: float) -> None:
    with pytest.raises(AcceptanceError, match="expected"):
        SequentialTest(margin, reach, largest, alpha)


def test_a_difference_that_is_not_finite_is_refused() -> None:
    with pytest.raises(AcceptanceError, match="not finite"):
        BITS.decide(np.array([0.0, np.nan]))
