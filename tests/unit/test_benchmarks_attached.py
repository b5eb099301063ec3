"""What the study of attached fine-tunes says of ranks, and that its parts share no text."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.attached.ranks import interval, kendall, spearman
from benchmarks.attached.tasks import deal
from laws import examples

values = st.lists(st.integers(0, 6), min_size=3, max_size=12)


def test_orders_that_agree_differ_and_tie() -> None:
    up = np.arange(6.0)
    assert spearman(up, np.exp(up)) == pytest.approx(1)
    assert spearman(up, -up) == pytest.approx(-1)
    assert kendall(up, np.exp(up)) == pytest.approx(1)
    assert kendall(up, -up) == pytest.approx(-1)
    assert math.isnan(spearman(up, np.ones(6)))
    assert math.isnan(kendall(up, np.ones(6)))
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == pytest.approx(0.8)
    assert kendall(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == pytest.approx(4 / 6)


@settings(deadline=None, max_examples=examples(50))
@given(values, st.randoms(use_true_random=False))
def test_kendall_counts_pairs(x: list[int], draws: object) -> None:
    y = list(x)
    draws.shuffle(y)  # type: ignore[attr-defined]
    agree = sum(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in combinations(range(len(x)), 2))
    untied = [sum(v[i] != v[j] for i, j in combinations(range(len(v)), 2)) for v in (x, y)]
    found = kendall(np.array(x, float), np.array(y, float))
    assert found == pytest.approx(agree / math.sqrt(untied[0] * untied[1])) if min(untied) else math.isnan(found)


def test_an_interval_lies_around_what_was_found() -> None:
    x = np.arange(24.0)
    y = x + np.random.default_rng(0).normal(0, 8, 24)
    mean, low, high = interval([(x, y), (x, y)], spearman)
    assert mean == pytest.approx(spearman(x, y))
    assert -1 <= low < mean < high <= 1


def test_parts_of_a_task_share_no_byte() -> None:
    """Of a text that never repeats itself; real ones have their licences and idioms in all parts."""
    text = np.random.default_rng(0).integers(0, 256, 60 * 4096, dtype=np.uint8).tobytes()
    task = deal("noise", text, 32, (64, 128))
    assert task.cheap.shape == (64, 33)
    assert task.truth.shape == (128, 33)
    assert len(task.train) == 30 * 4096
    inner = [[row.tobytes()[8:25] for row in windows] for windows in (task.cheap, task.truth)]
    assert not any(part in task.train for part in inner[0] + inner[1])
    assert not set(inner[0]) & set(inner[1])
