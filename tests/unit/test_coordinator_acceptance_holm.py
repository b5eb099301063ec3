from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.acceptance.statistics.holm import holm

shares = st.floats(0, 1)
weighted = st.lists(st.tuples(shares, st.floats(0.1, 10)), min_size=1, max_size=8)


def test_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_weights_by_hand() -> None:
    assert holm([0.03, 0.02], [3.0, 1.0]) == pytest.approx([0.04, 0.04])
    assert holm([0.03, 0.03], [3.0, 1.0]) == pytest.approx([0.04, 0.04])
    assert holm([0.01, 0.2], [1.0, 3.0]) == pytest.approx([0.04, 0.2])


@given(st.lists(shares, min_size=1, max_size=12))
@settings(deadline=None)
def test_it_never_lowers_a_p_value_nor_changes_their_order(ps: list[float]) -> None:
    corrected = holm(ps)
    assert all(p <= c <= 1 for p, c in zip(ps, corrected, strict=True))
    pairs = sorted(zip(ps, corrected, strict=True))
    assert [c for _, c in pairs] == sorted(corrected)
    assert holm(ps, [2.5] * len(ps)) == pytest.approx(corrected)


@given(weighted, st.integers(0, 7), st.floats(0, 1))
@settings(deadline=None)
def test_more_evidence_for_one_hurts_none(tests: list[tuple[float, float]], at: int, less: float) -> None:
    ps, weights = [p for p, _ in tests], [weight for _, weight in tests]
    stronger = list(ps)
    stronger[at % len(ps)] *= less
    before, after = holm(ps, weights), holm(stronger, weights)
    assert all(p <= c <= 1 for p, c in zip(ps, before, strict=True))
    assert all(new <= old + 1e-12 for new, old in zip(after, before, strict=True))


@pytest.mark.parametrize("weights", [None, [1.0, 1.0, 4.0, 0.5]])
def test_something_passes_wrongly_no_more_often_than_it_may(weights: list[float] | None) -> None:
    ps_RK = np.random.default_rng(0).random((4000, 4))
    wrong = np.mean([min(holm(ps, weights)) <= 0.05 for ps in ps_RK.tolist()])
    assert 0.035 <= wrong <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 4000)
