"""Scores of updates, ranks, weights and standing: laws first, then planted contributors."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import AcceptanceError
from coordinator.acceptance.statistics.student import below, quantile, welch_freedom
from coordinator.acceptance.updates.contribution import Effect, PairedLosses, UpdateScore, effect, score_update
from coordinator.acceptance.updates.probation import Outcome, StandingPolicy, outcome_of, standing
from coordinator.acceptance.updates.ranking import ScoredUpdate, ranking, weights_from_scores
from coordinator.acceptance.updates.recognition import Recognised, gravest

FINITE = st.floats(-10, 10)


def losses(change: float, spread: float, count: int = 32, seed: int = 0) -> PairedLosses:
    random = np.random.default_rng(seed)
    base_N = random.normal(4.0, 1.0, count)
    return PairedLosses(base_N, base_N + random.normal(change, spread, count))


# Student's t.


@pytest.mark.parametrize(
    ("chance", "freedom", "expected"),
    [(0.975, 7, 2.365), (0.975, 31, 2.040), (0.99, 31, 2.453), (0.99, 63, 2.387), (0.95, 15, 1.753)],
)
def test_quantiles_are_those_of_the_tables(chance: float, freedom: int, expected: float) -> None:
    assert quantile(chance, freedom) == pytest.approx(expected, abs=0.005)
    assert below(expected, freedom) == pytest.approx(chance, abs=0.001)


@given(chance=st.floats(0.001, 0.999), freedom=st.floats(3, 500))
def test_quantile_and_chance_are_inverse_and_symmetric(chance: float, freedom: float) -> None:
    assert below(quantile(chance, freedom), freedom) == pytest.approx(chance, abs=1e-9)
    assert quantile(1 - chance, freedom) == pytest.approx(-quantile(chance, freedom), abs=1e-6)


def test_welch_counts_the_smaller_sample() -> None:
    assert welch_freedom([(0.5, 10), (0.5, 10)]) == pytest.approx(18)
    assert welch_freedom([(1.0, 10), (1e-9, 1000)]) == pytest.approx(9, rel=1e-6)
    assert welch_freedom([(0.0, 10), (0.0, 10)]) == 18


# Scores.


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    found = [effect(losses(-0.1, 0.2, seed=seed)) for seed in range(800)]
    hits = sum(one.low <= -0.1 <= one.high for one in found) / len(found)
    assert hits == pytest.approx(0.95, abs=0.03)


@given(change=FINITE, scale=st.floats(0.1, 10))
def test_a_score_shifts_and_scales_with_the_changes(change: float, scale: float) -> None:
    known = losses(0.0, 0.3)
    moved = effect(PairedLosses(known.base_N, known.base_N + scale * known.change + change))
    before = effect(known)
    assert moved.change == pytest.approx(scale * before.change + change, abs=1e-9)
    assert moved.error == pytest.approx(scale * before.error, abs=1e-9)
    assert moved.low <= moved.change <= moved.high
    assert moved.gain == -moved.change


def test_a_score_weighs_its_own_domain_and_says_all_numbers() -> None:
    hidden, own, public = losses(0.02, 0.1), losses(-0.4, 0.1, seed=1), losses(0.0, 0.1, seed=2)
    score = score_update(hidden, own, public, own_share=0.25)
    assert score.own is not None
    assert score.value == pytest.approx(0.25 * score.own.gain + 0.75 * score.hidden.gain)
    assert score.error == pytest.approx(math.hypot(0.25 * score.own.error, 0.75 * score.hidden.error))
    assert "hidden +0.0" in score.reason
    assert "its own domain -0." in score.reason
    assert "32 examples" in score.reason
    json.dumps(score.as_json(), allow_nan=False)
    alone = score_update(hidden)
    assert (alone.value, alone.own, alone.public) == (alone.hidden.gain, None, None)


def test_losses_that_are_missing_or_not_finite_are_no_score() -> None:
    with pytest.raises(AcceptanceError, match="expected one an example"):
        effect(PairedLosses(np.zeros(4), np.zeros(5)))
    with pytest.raises(AcceptanceError, match="two examples at least"):
        effect(PairedLosses(np.zeros(1), np.zeros(1)))
    with pytest.raises(AcceptanceError, match="not finite"):
        effect(PairedLosses(np.zeros(4), np.full(4, np.nan)))


# Ranks.


def planted(merits: dict[str, float], rounds: int, seed: int, error: float = 0.1) -> list[ScoredUpdate]:
    """Contributors of known merit; every round helps less than the one before, as training does."""
    random = np.random.default_rng(seed)
    return [
        ScoredUpdate(name, number, (merit + random.normal(0, error)) / (1 + number), error / (1 + number))
        for number in range(rounds)
        for name, merit in merits.items()
    ]


def test_contributors_come_in_the_order_of_their_merit() -> None:
    merits = {"a": 1.0, "b": 0.7, "c": 0.4, "d": 0.0}
    found = ranking(planted(merits, 8, 0))
    assert [rank.contributor for rank in found] == ["a", "b", "c", "d"]
    assert [rank.place for rank in found] == [1, 2, 3, 4]
    assert all(rank.updates == 8 and "8 updates" in rank.reason for rank in found)
    assert found[0].value > 0 > found[-1].value


def test_one_lucky_update_does_not_beat_a_long_record() -> None:
    scored = planted({"a": 1.0, "b": 0.6, "c": 0.3, "d": 0.2}, 10, 1, error=0.3)
    lucky = ScoredUpdate("lucky", 9, 1.15 / 10, 0.3 / 10)
    found = {rank.contributor: rank for rank in ranking([*scored, lucky])}
    assert found["a"].place == 1
    assert found["lucky"].error > found["a"].error


def test_drawing_towards_the_mean_is_nearer_to_the_truth() -> None:
    """What the formula is for: squared error against known merits, over many made-up runs."""
    plain, drawn = [], []
    for seed in range(40):
        random = np.random.default_rng(seed)
        merits = {str(name): float(random.normal(0, 0.2)) for name in range(12)}
        scored = [ScoredUpdate(n, r, 3 + m + random.normal(0, 0.5), 0.5) for r in range(3) for n, m in merits.items()]
        unit = math.sqrt(np.mean([update.value**2 for update in scored]))
        middle = np.mean(list(merits.values()))
        for rank in ranking(scored):
            mean = np.mean([update.value - 3 for update in scored if update.contributor == rank.contributor])
            plain.append((mean - merits[rank.contributor]) ** 2)
            drawn.append((rank.value * unit + middle - merits[rank.contributor]) ** 2)
    assert np.mean(drawn) < 0.6 * np.mean(plain)


def test_where_only_noise_differs_nobody_is_ranked_above_another() -> None:
    scored = [ScoredUpdate(str(name), 0, 1 + 0.01 * name, 0.5) for name in range(5)]
    assert {rank.place for rank in ranking(scored)} == {1}
    assert ranking([]) == ()
    assert ranking([ScoredUpdate("alone", 0, 1.0, 0.1)]) == ()


def test_who_scatters_more_than_the_stated_errors_is_known_less() -> None:
    values = {"a": (2.0, 1.0, 2.0, 1.0), "b": (1.0, 2.1, 1.0, 2.0), "c": (1.5, 1.4, 1.6, 1.5)}
    scored = [ScoredUpdate(name, r, value, 0.001) for name, row in values.items() for r, value in enumerate(row)]
    assert {rank.place for rank in ranking(scored)} == {1}


@given(order=st.permutations(range(12)))
def test_the_order_in_which_scores_come_does_not_matter(order: list[int]) -> None:
    scored = planted({"a": 1.0, "b": 0.5, "c": 0.1}, 4, 2)
    assert ranking([scored[i] for i in order]) == ranking(scored)


# Weights.

VALUES = st.lists(st.tuples(st.floats(-1, 1), st.floats(0.001, 0.5), st.floats(0.1, 5)), min_size=1, max_size=8)


@given(rows=VALUES, bound=st.floats(1, 10), alike=st.booleans())
def test_weights_add_up_as_planned_are_bounded_and_rise_with_the_score(
    rows: list[tuple[float, float, float]], bound: float, alike: bool
) -> None:
    values, errors, planned = ([row[column] for row in rows] for column in range(3))
    planned = [1.0] * len(rows) if alike else planned
    weights = weights_from_scores(planned, values, errors, bound)
    assert sum(weights) == pytest.approx(sum(planned))
    tilts = [weight / plan for weight, plan in zip(weights, planned, strict=True)]
    assert max(tilts) <= min(tilts) * bound * (1 + 1e-9)
    by_value = [tilt for _, tilt in sorted(zip(values, tilts, strict=True))]
    assert all(a <= b * (1 + 1e-9) for a, b in pairwise(by_value))


def test_weights_follow_scores_only_where_those_differ_beyond_their_errors() -> None:
    assert weights_from_scores([1.0, 1.0], [0.1, 0.12], [0.5, 0.5], 4.0) == (1.0, 1.0)
    low, high = weights_from_scores([1.0, 1.0], [0.0, 1.0], [0.001, 0.001], 4.0)
    assert high > 1.3 > 0.7 > low
    assert weights_from_scores([1.0, 2.0], [0.0, 1.0], [0.001, 0.001], 1.0) == pytest.approx((1.0, 2.0))


# Standing.

POLICY = StandingPolicy()
KINDS = st.sampled_from(["helps", "neutral", "flagged"])


def history(kinds: str, start: int = 0) -> list[Outcome]:
    names = {"+": "helps", ".": "neutral", "x": "flagged"}
    return [Outcome(start + number, names[kind], kind) for number, kind in enumerate(kinds)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ("", "new"),
        ("+", "new"),
        ("+.", "probation"),
        ("+++++", "trusted"),
        ("+++++x", "trusted"),
        ("+++++xx", "probation"),
        ("+++++xx+", "probation"),
        ("+++++xx++++", "trusted"),
        ("xx", "probation"),
        ("xxx", "suspended"),
        ("+++++xxxxx", "suspended"),
        ("....................", "probation"),
    ],
)
def test_standing_follows_the_drawing(kinds: str, expected: str) -> None:
    found = standing(history(kinds), len(kinds), POLICY)
    assert found.state == expected, found.reason
    assert found.reason.startswith(expected)


def test_a_suspension_ends_and_one_more_flag_renews_it() -> None:
    found = standing(history("xxx"), 3, POLICY)
    assert (found.state, found.until_round) == ("suspended", 23)
    assert "suspended until round 23" in found.reason
    assert standing(history("xxx"), 22, POLICY).state == "suspended"
    assert standing(history("xxx"), 23, POLICY).state == "probation"
    again = standing([*history("xxx"), *history("x", 23)], 24, POLICY)
    assert (again.state, again.until_round) == ("suspended", 44)


@given(kinds=st.lists(KINDS, max_size=60))
def test_no_history_leaves_the_borders_and_every_suspension_was_earned(kinds: list[str]) -> None:
    past = [Outcome(number, kind, "") for number, kind in enumerate(kinds)]  # type: ignore[arg-type]
    found = standing(past, len(past), POLICY)
    assert POLICY.suspend_at <= found.credit <= POLICY.trust_at
    assert (found.until_round is not None) == (found.state == "suspended")
    if found.state == "suspended":
        assert kinds.count("flagged") >= 3
    if found.state == "trusted":
        assert kinds.count("helps") >= POLICY.trust_at


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_honest_contributor_with_false_alarms_is_not_suspended(seed: int) -> None:
    """One update in a hundred flagged wrongly, one in ten shown to help, over 500 rounds."""
    random = np.random.default_rng(seed)
    kinds = random.choice(["x", "+", "."], size=500, p=[0.01, 0.1, 0.89])
    past = history("".join(kinds))
    assert all(standing(past[:now], now, POLICY).state != "suspended" for now in range(0, 500, 25))


def test_outcomes_come_from_score_and_label() -> None:
    def score(own: float) -> UpdateScore:
        return score_update(losses(0.0, 0.1), losses(own, 0.1, seed=1))

    clean = Recognised("honest", "nothing", {})
    assert outcome_of(3, score(-0.4), clean).kind == "helps"
    assert outcome_of(3, score(0.0), clean).kind == "neutral"
    flagged = outcome_of(3, score(-0.4), Recognised("copy", "of b3:1", {}))
    assert (flagged.kind, flagged.reason) == ("flagged", "copy: of b3:1")


def test_the_gravest_word_counts() -> None:
    words = [Recognised(label, "", {}) for label in ("honest", "unclear", "free-rider", "tuned", "copy")]
    assert gravest(words[::-1]).label == "copy"
    assert [word.flagged for word in words] == [False, False, True, True, True]
    assert gravest(words[:2]).label == "unclear"


def test_an_effect_is_plain() -> None:
    assert Effect(-0.5, 0.1, -0.7, -0.3, 8, 0.95).gain == 0.5
