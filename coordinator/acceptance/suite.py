"""The suite: which acceptance test reads which scores.

A model is scored once a shard; every test on that shard reads the same scores, the loss tests
their bits per byte and the accuracy tests their right answers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from barnraise.config import AcceptanceConfig, AcceptanceTestConfig, ProbeConfig
from barnraise.errors import AcceptanceError
from coordinator.acceptance.scores import Scores
from coordinator.acceptance.verdict import PairedScores, Verdict, judge

__all__ = ["judge_models", "metric_of"]

SEED = 0


def judge_models(config: AcceptanceConfig, base: Mapping[str, Scores], candidate: Mapping[str, Scores]) -> Verdict:
    """The verdict on a candidate, from both models' scores by shard.

    Raises:
        AcceptanceError: scores are missing or not finite.
    """
    pairs = [PairedScores(test, metric_of(test, base), metric_of(test, candidate)) for test in config.tests]
    return judge(pairs, config.alpha, SEED)


def metric_of(test: AcceptanceTestConfig | ProbeConfig, scores: Mapping[str, Scores]) -> NDArray[np.float64]:
    """A test's metric on its examples: bits per byte, or 1 and 0 for right and wrong; float64 [N].

    Raises:
        AcceptanceError: the shard was not scored on that many windows.
    """
    of_shard = scores.get(test.shard)
    found = len(of_shard.bits_per_byte) if of_shard else 0
    if of_shard is None or found < test.examples:
        raise AcceptanceError(
            f"test {test.name} has {test.examples} examples of shard {test.shard!r}, {found} windows were drawn when "
            "the run was made; lower its examples, or start a new run"
        )
    values = of_shard.bits_per_byte if test.kind == "loss" else of_shard.correct
    return values[: test.examples].astype(np.float64)
