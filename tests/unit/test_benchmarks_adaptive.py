"""What an adaptive contributor gains, in a small setting: the order of the defences, and that nothing is learnt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.adaptive import ARMS, QUICK, Attack, Outcome, answered, climb_labels, climb_loss, reconstruct, vote

SETTING = replace(QUICK, trials=10)
EXACT, ROUNDED, LADDER, FRESH, BUDGET = (
    next(arm for arm in ARMS if arm.name.endswith(name))
    for name in (
        "hidden shard, exact",
        "hidden shard, rounded",
        "ladder",
        "fresh hidden draws, rounded",
        "rounded, budget",
    )
)


def gained(attack: Attack) -> dict[str, float]:
    found = {arm.name: attack(arm, SETTING, np.random.default_rng(3)) for arm in ARMS if not arm.whole}
    return {name: float(outcome.gained.mean()) for name, outcome in found.items()}


@pytest.mark.parametrize("attack", [vote, reconstruct])
def test_exact_answers_of_a_fixed_shard_give_it_away_and_fresh_draws_do_not(attack: Attack) -> None:
    found = gained(attack)
    assert found[EXACT.name] > 0.8 * found["public shard, exact"]
    assert found[ROUNDED.name] > 0.7 * found[EXACT.name]  # rounding alone is no defence: noise averages out
    assert found[LADDER.name] < 0.5 * found[EXACT.name]
    assert found[FRESH.name] < 0.2 * found[EXACT.name]
    assert found[BUDGET.name] < 0.6 * found[FRESH.name]


@pytest.mark.parametrize("attack", [climb_labels, climb_loss])
def test_climbing_gains_less_with_every_defence(attack: Attack) -> None:
    found = gained(attack)
    assert found[LADDER.name] < found[EXACT.name] < 1.1 * found["public shard, exact"]
    assert found[FRESH.name] < 0.1 * found[EXACT.name]
    assert found[BUDGET.name] < 0.1 * found[EXACT.name]


@pytest.mark.parametrize("attack", [vote, climb_labels])
def test_coins_cannot_be_learnt(attack: Attack) -> None:
    outcome: Outcome = attack(EXACT, SETTING, np.random.default_rng(4))
    assert abs(outcome.true.mean() - 0.5) < 4 * 0.5 / np.sqrt(SETTING.trials * SETTING.drawn)


@pytest.mark.parametrize("attack", [reconstruct, climb_loss])
def test_every_move_does_harm_in_truth(attack: Attack) -> None:
    assert (attack(EXACT, SETTING, np.random.default_rng(4)).true <= 0).all()


def test_a_budget_answers_until_uses_are_up() -> None:
    assert answered(EXACT, SETTING, 0.5) == SETTING.questions
    assert answered(BUDGET, SETTING, 0.5) == SETTING.pool // SETTING.drawn
