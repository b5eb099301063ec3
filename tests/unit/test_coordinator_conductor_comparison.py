"""How far two models are apart, in all and tensor by tensor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.updates.space import ParameterSpace, TensorSpec
from coordinator.conductor.comparison import difference

SPACE = ParameterSpace.of([TensorSpec("a", (3, 2)), TensorSpec("b", (4,)), TensorSpec("c", (5000,))])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.sets(st.integers(0, SPACE.size - 1), max_size=40))
def test_norm_and_share_are_those_of_the_difference(seed: int, places: set[int]) -> None:
    draws = np.random.default_rng(seed)
    old_P = draws.standard_normal(SPACE.size).astype(np.float32)
    new_P = old_P.copy()
    new_P[sorted(places)] += np.float32(1.0)
    found = difference(SPACE, old_P, new_P)
    gap_P = new_P.astype(np.float64) - old_P
    assert found["norm"] == pytest.approx(np.linalg.norm(gap_P), rel=1e-6)
    assert found["relative_norm"] == pytest.approx(np.linalg.norm(gap_P) / np.linalg.norm(old_P), rel=1e-6)
    assert found["changed"] == pytest.approx(len(places) / SPACE.size)
    assert {row["name"] for row in found["tensors"]} == {"a", "b", "c"}
    assert [row["norm"] for row in found["tensors"]] == sorted((row["norm"] for row in found["tensors"]), reverse=True)


def test_the_same_model_is_no_distance_away_and_zeros_have_no_relation() -> None:
    zeros_P = np.zeros(SPACE.size, dtype=np.float32)
    found = difference(SPACE, zeros_P, zeros_P)
    assert (found["norm"], found["relative_norm"], found["changed"]) == (0.0, None, 0.0)
