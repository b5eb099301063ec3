from __future__ import annotations

import json

import numpy as np
import pytest

from barnraise.errors import AcceptanceError
from coordinator.acceptance.updates.check import ALPHA, check_alone

BASE = np.random.default_rng(0).normal(3.0, 0.5, 32)
NOISE = np.random.default_rng(1).normal(0.0, 0.2, 32)


def test_poison_is_rejected_with_evidence() -> None:
    verdict = check_alone(BASE, BASE + 2.0 + NOISE, 0.3)
    assert not verdict.accepted
    assert "more than +0.3 is shown" in verdict.reason
    assert verdict.evidence["p"] <= ALPHA
    assert verdict.evidence["change"] == pytest.approx(2.0, abs=0.1)
    json.dumps(verdict.evidence, allow_nan=False)


@pytest.mark.parametrize("change", [-1.0, 0.0, 0.1, 0.3])
def test_gains_and_small_losses_are_accepted(change: float) -> None:
    assert check_alone(BASE, BASE + change + NOISE, 0.3).accepted


def test_an_update_without_effect_is_accepted() -> None:
    assert check_alone(BASE, BASE.copy(), 0.3).accepted


def test_one_wild_window_is_no_evidence() -> None:
    wild = BASE.copy()
    wild[4] += 50.0
    assert wild.mean() - BASE.mean() > 0.3
    assert check_alone(BASE, wild, 0.3).accepted


def test_even_eight_windows_suffice_against_poison() -> None:
    assert not check_alone(BASE[:8], BASE[:8] + 1.0, 0.3).accepted


def test_the_same_scores_give_the_same_verdict() -> None:
    assert check_alone(BASE, BASE + NOISE, 0.3) == check_alone(BASE, BASE + NOISE, 0.3)


def test_scores_that_are_missing_or_not_finite_are_no_check() -> None:
    with pytest.raises(AcceptanceError, match="expected one a window"):
        check_alone(BASE, BASE[:5], 0.3)
    with pytest.raises(AcceptanceError, match="not finite"):
        check_alone(BASE, np.full(32, np.nan), 0.3)
