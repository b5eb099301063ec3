"""What the study of attached fine-tunes says of ranks, that its parts share no text, and what it keeps."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.attached.kept import Kept
from benchmarks.attached.page import page
from benchmarks.attached.ranks import interval, kendall, spearman
from benchmarks.attached.sizes import QUICK, stdlib_sizes
from benchmarks.attached.study import low_rank_of
from benchmarks.attached.tasks import deal
from coordinator.acceptance.models.attachments import Attachment, LowRank
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
    task = deal("noise", text, 32, (64, 128, 96))
    assert task.cheap.shape == (64, 33)
    assert task.truth.shape == (128, 33)
    assert task.more.shape == (96, 33)
    assert len(task.train) == 30 * 4096
    few, true, more = [[row.tobytes()[8:25] for row in windows] for windows in (task.cheap, task.truth, task.more)]
    assert not any(part in task.train for part in few + true + more)
    assert not set(few + more) & set(true)


def test_a_trend_that_both_follow_is_no_agreement_of_changes() -> None:
    """What a test says falls as the truth does, but wherever the truth falls more the test falls less."""
    said, whole, records = 5.0, 5.0, []
    for number, step in enumerate([0.1, 0.4, 0.2, 0.5, 0.3, 0.6]):
        said, whole = said - step, whole - (0.7 - step)
        records.append(_line(f"round {number}", f"round {number - 1}", {"plain": said, "whole": whole}))
    (row,) = [line for line in page(records, QUICK) if line.startswith("| plain |") and "1/" in line]
    cells = [cell.split()[0] for cell in row.strip("|").split(" | ")]
    assert cells[2] == "1.00", "of all"
    assert cells[5] == "-1.00", "of changes"


def _line(release: str, parent: str, said: dict[str, float]) -> dict[str, object]:
    seconds = dict.fromkeys(said, 1.0)
    named = {"what": "text", "release": release, "kind": "trunk", "parent": parent, "task": "t"}
    return {**named, "said": said, "seconds": seconds}


def test_the_low_rank_part_of_an_attachment_is_the_best_one_of_each_matrix() -> None:
    draws = np.random.default_rng(0)
    large, small = draws.standard_normal((2, 6, 1)) @ draws.standard_normal((2, 1, 4))
    whole = Attachment({"m": (large + 0.01 * small).astype(np.float32), "v": np.ones(3, np.float32)})
    for rank, error in ((1, 0.05), (2, 1e-5)):
        part = low_rank_of(whole, rank)
        assert set(part.changes) == {"m"}, "an adapter holds no vectors"
        change = part.changes["m"]
        assert isinstance(change, LowRank)
        assert change.a_RI.shape == (rank, 4)
        assert np.abs(change.product() - whole.changes["m"]).max() < error


def test_what_was_made_is_made_once(tmp_path: Path) -> None:
    made = []

    def make() -> np.ndarray:
        made.append(1)
        return np.arange(3, dtype=np.float32)

    kept = Kept(tmp_path / "models")
    assert [kept.vector("round 1", make).tolist() for _ in range(2)] == [[0, 1, 2]] * 2
    assert len(made) == 1
    assert [Kept().vector("round 1", make).tolist() for _ in range(2)] == [[0, 1, 2]] * 2
    assert len(made) == 3


def test_the_large_study_is_of_the_run_that_its_page_names() -> None:
    sizes = stdlib_sizes()
    assert (sizes.model.dim, sizes.model.layers, sizes.model.context) == (256, 4, 128)
    assert (sizes.steps, sizes.codec.k, len(sizes.shards)) == (12, 256, 4)
