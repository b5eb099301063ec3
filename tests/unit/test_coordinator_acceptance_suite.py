"""From a model's parameters to a verdict, on a model small enough to score in milliseconds."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from barnraise.model_config import ByteLMConfig
from barnraise.suite import AcceptanceTestConfig, SuiteConfig
from barnraise.updates.space import ParameterSpace
from coordinator.acceptance.asking.evaluate import WORST_BITS
from coordinator.acceptance.examples import NOTHING, Examples
from coordinator.acceptance.kinds import Failure, Measured
from coordinator.acceptance.measuring import first_examples, measure
from coordinator.acceptance.models.subject import ByteSubject
from coordinator.acceptance.suite import judge_models
from merge.architectures import build, flat_of, space_of

MODEL = ByteLMConfig(dim=16, layers=1, heads=2, hidden=16, context=12)
WINDOWS = np.random.default_rng(0).integers(32, 127, (40, 13), dtype=np.uint8)
CONFIG = SuiteConfig(
    tests=(
        AcceptanceTestConfig(name="loss-text", kind="loss", shard="text", examples=16, margin=0.05),
        AcceptanceTestConfig(name="next-byte", kind="accuracy", shard="text", examples=40, margin=0.2),
    )
)


@cache
def first() -> tuple[ParameterSpace, NDArray[np.float32]]:
    module = build(MODEL)
    space = space_of(module)
    return space, flat_of(module, space)


LOSS = AcceptanceTestConfig(name="loss", kind="loss", shard="text", examples=40, margin=0.05)
RIGHT = AcceptanceTestConfig(name="right", kind="accuracy", shard="text", examples=40, margin=0.05)


def scored(
    flat_P: NDArray[np.float32], windows: NDArray[np.uint8] = WINDOWS, test: AcceptanceTestConfig = LOSS
) -> NDArray[np.float64]:
    return measure(ByteSubject(flat_P, MODEL, first()[0]), test, Examples.of_windows(windows)).values_N


def found_by_all(flat_P: NDArray[np.float32]) -> dict[str, Measured]:
    subject, text = ByteSubject(flat_P, MODEL, first()[0]), Examples.of_windows(WINDOWS)
    return {test.name: measure(subject, test, first_examples(test, text)) for test in CONFIG.tests}


def knowing(byte: int) -> NDArray[np.float32]:
    """The first model with an embedding in which every position points at ``byte``."""
    space, flat_P = first()
    changed_P = flat_P.copy()
    embedding = space.unflatten(changed_P)["model.embed_tokens.weight"]
    embedding[:] = 0.01
    embedding[byte] = 1.0
    return changed_P


def test_an_untrained_model_guesses() -> None:
    found = scored(first()[1])
    assert found.shape == (40,)
    assert found.dtype == np.float64
    assert found.mean() == pytest.approx(8.0, abs=0.2)


def test_bits_per_byte_are_the_loss_of_the_model() -> None:
    module = build(MODEL)
    with torch.no_grad():
        nats = float(module.loss(torch.from_numpy(WINDOWS)))
    assert scored(first()[1]).mean() == pytest.approx(nats / math.log(2), rel=1e-5)


def test_scores_of_a_window_do_not_depend_on_the_others() -> None:
    flat_P = first()[1]
    together, alone = scored(flat_P), scored(flat_P, WINDOWS[33:34])
    assert alone[0] == pytest.approx(together[33], rel=1e-5)


def test_right_is_about_the_last_byte() -> None:
    windows = WINDOWS.copy()
    windows[:20, -1], windows[20:, -1] = 65, 66
    assert scored(knowing(65), windows, RIGHT).tolist() == [1.0] * 20 + [0.0] * 20


@pytest.mark.parametrize("value", [1e30, np.inf, np.nan, -np.inf])
def test_a_broken_model_is_scored_as_knowing_nothing(value: float) -> None:
    flat_P = first()[1].copy()
    flat_P[:] = value
    bits = scored(flat_P)
    assert np.isfinite(bits).all()
    assert bits.max() <= WORST_BITS
    if not np.isfinite(value):
        assert (bits == WORST_BITS).all()
        assert not scored(flat_P, test=RIGHT).any()


def test_scoring_does_not_change_the_parameters() -> None:
    flat_P = first()[1].copy()
    flat_P.setflags(write=False)
    scored(flat_P)


def test_a_model_is_as_good_as_itself_and_better_than_a_broken_one() -> None:
    base = found_by_all(first()[1])
    broken = found_by_all(np.full_like(first()[1], np.nan))
    assert judge_models(CONFIG, base, base).passed
    assert judge_models(CONFIG, broken, base).passed
    worse = judge_models(CONFIG, base, broken)
    assert not worse.passed
    assert "loss-text" in worse.reason


def test_a_test_looks_at_the_first_examples() -> None:
    text = Examples.of_windows(WINDOWS)
    assert first_examples(CONFIG.tests[0], text).windows is not None
    assert np.array_equal(first_examples(CONFIG.tests[0], text).windows, WINDOWS[:16])
    assert first_examples(CONFIG.tests[0], text).digest == first_examples(CONFIG.tests[1], text).digest == text.digest


@pytest.mark.parametrize("count", [0, 15])
def test_a_shard_without_enough_windows_stops_the_suite(count: int) -> None:
    at_hand = Examples.of_windows(WINDOWS[:count]) if count else NOTHING
    with pytest.raises(AcceptanceError, match=f"loss-text looks at 16 examples, shard 'text' has {count}"):
        first_examples(CONFIG.tests[0], at_hand)


def test_a_candidate_that_cannot_be_measured_fails_that_test_alone() -> None:
    base = found_by_all(first()[1])
    verdict = judge_models(CONFIG, base, {**base, "next-byte": Failure("it took longer than 5 s")})
    assert not verdict.passed
    assert [(case.name, case.passed) for case in verdict.tests] == [("loss-text", True), ("next-byte", False)]
    assert "next-byte could not be measured: it took longer than 5 s" in verdict.reason
    json.dumps(verdict.as_json(), allow_nan=False)


def test_a_base_that_cannot_be_measured_is_the_suites_fault() -> None:
    found = found_by_all(first()[1])
    with pytest.raises(AcceptanceError, match=r"test next-byte fails on the base itself.*crashed"):
        judge_models(CONFIG, {**found, "next-byte": Failure("it crashed")}, found)
