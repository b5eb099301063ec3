"""Probes move a channel back on proof that a release is worse, and only then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barnraise.config import ChannelConfig
from barnraise.suite import ProbeConfig
from coordinator.acceptance.kinds import Measured
from coordinator.acceptance.probe import Probed, probe_models
from coordinator.conductor.probing import due
from coordinator.ledger import ChannelRow, ReleaseRow

LOSS = ProbeConfig(name="drift", kind="loss", shard="text", examples=48, margin=0.05)
ACCURACY = ProbeConfig(name="right", kind="accuracy", shard="text", examples=48, margin=0.05)
EVEN = np.linspace(2.0, 3.0, 48)


def scored(bits: NDArray[np.float64], right: int = 24) -> dict[str, Measured]:
    return {"drift": Measured(bits), "right": Measured((np.arange(len(bits)) < right).astype(np.float64))}


def probed(before: dict[str, Measured], now: dict[str, Measured], *probes: ProbeConfig) -> Probed:
    return probe_models(probes or (LOSS,), before, now, 0.05)


def test_a_release_that_is_clearly_worse_is_found_with_the_numbers() -> None:
    found = probed(scored(EVEN), scored(EVEN + 0.2 + 0.01 * np.sin(np.arange(48))))
    assert not found.passed
    assert "drift 2.500 -> 2.700 bits/byte, worse by more than 0.05 (p 0.0001 <= 0.05)" in found.reason
    assert found.summary["drift"]["passed"] is False


def test_worse_by_less_than_the_margin_or_without_proof_stays() -> None:
    noise = 2.0 * np.where(np.arange(48) % 2, 1.0, -1.0)
    assert probed(scored(EVEN), scored(EVEN + 0.04)).passed
    assert probed(scored(EVEN), scored(EVEN + 0.1 + noise)).passed
    assert probed(scored(EVEN), scored(EVEN)).reason == "no regression in 1 probes (lowest corrected p 1)"


def test_fewer_right_answers_are_worse() -> None:
    assert not probed(scored(EVEN, right=40), scored(EVEN, right=10), ACCURACY).passed
    assert probed(scored(EVEN, right=10), scored(EVEN, right=40), ACCURACY).passed


@settings(deadline=None, max_examples=50)
@given(better=st.floats(0, 5), seed=st.integers(0, 99))
def test_a_better_release_never_moves_a_channel_back(better: float, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.02, 48)
    found = probed(scored(EVEN), scored(EVEN - better - np.abs(noise), right=30), LOSS, ACCURACY)
    assert found.passed


def test_several_probes_are_corrected_for_each_other() -> None:
    rng = np.random.default_rng(0)
    alone, together = 0, 0
    others = [ProbeConfig(name=f"n{i}", kind="loss", shard="text", examples=48) for i in range(10)]
    before = {other.name: Measured(EVEN) for other in others}
    for _ in range(40):
        now = {other.name: Measured(EVEN + rng.normal(0, 1.0, 48)) for other in others}
        alone += not all(probe_models((other,), before, now, 0.05).passed for other in others)
        together += not probe_models(others, before, now, 0.05).passed
    assert together <= alone


RELEASES = [
    ReleaseRow(version, 1, None, "b3:0", "b3:0", 1, "patch", "", None, None, None, 1, {}, yanked=why, promoted_at_ms=at)
    for version, why, at in (
        ("0.1.0", None, 1),
        ("0.1.1", None, 1),
        ("0.1.2", "bad", 1),
        ("0.1.3", None, 1),
        ("0.1.4", None, None),
        ("0.1.5", None, 1),
    )
]
WATCHED = {"stable": ChannelConfig(probes=(LOSS,)), "weekly": ChannelConfig()}


@pytest.mark.parametrize(
    ("row", "is_due"),
    [
        (ChannelRow("stable", "0.1.1", "0.1.0", "promoted", None), True),
        (ChannelRow("stable", "0.1.1", None, "promoted", None), False),
        (ChannelRow("stable", "0.1.0", "0.1.1", "ordered", None), False),
        (ChannelRow("stable", "0.1.1", "0.1.0", "promoted", {"passed": True}), False),
        (ChannelRow("stable", "0.1.3", "0.1.2", "promoted", None), False),
        (ChannelRow("stable", "0.1.5", "0.1.4", "0.1.4 was withdrawn since", None), False),
        (ChannelRow("weekly", "0.1.1", "0.1.0", "", None), False),
        (ChannelRow("nightly", "0.1.1", "0.1.0", "", None), False),
    ],
    ids=str,
)
def test_a_channel_is_probed_once_after_it_moved_forward(row: ChannelRow, is_due: bool) -> None:
    assert (due([row], WATCHED, RELEASES) is row) == is_due
