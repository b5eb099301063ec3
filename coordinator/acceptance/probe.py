"""Is a release worse than the one before: the statistics that move a channel back.

An acceptance test asks for proof that a candidate is *not* worse by a margin. A probe asks the
other way round, and needs proof that a release *is*: without data a channel stays where it is.
Several probes have several chances to be wrong, so their p-values are corrected.

N  examples of a probe

Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70 (correction); the test is the one
of resampling.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnraise.config import ProbeConfig
from barnraise.digest import digest_bytes
from coordinator.acceptance.resampling import below_zero
from coordinator.acceptance.scores import Scores
from coordinator.acceptance.suite import metric_of
from coordinator.acceptance.verdict import UNITS, holm

__all__ = ["Probed", "probe_models"]

SEED = 0


@dataclass(frozen=True, slots=True)
class Probed:
    """What a channel's probes say of its release.

    Attributes:
        passed: none shows that it is worse. summary: probe -> its numbers, JSON values.
    """

    passed: bool
    reason: str
    summary: dict[str, dict[str, Any]]


def probe_models(
    probes: Sequence[ProbeConfig], before: Mapping[str, Scores], now: Mapping[str, Scores], alpha: float
) -> Probed:
    """Compare a release with the one before it.

    Args:
        before, now: scores of both by shard. alpha: chance of moving back though no probe is worse by its margin.

    Raises:
        AcceptanceError: scores are missing.
    """
    metrics = [(probe, metric_of(probe, before), metric_of(probe, now)) for probe in probes]
    ps = holm([_p_worse(probe, old_N, new_N) for probe, old_N, new_N in metrics])
    worse, summary = [], {}
    for (probe, old_N, new_N), p in zip(metrics, ps, strict=True):
        old, new = float(old_N.mean()), float(new_N.mean())
        numbers = {"before": old, "now": new, "p": p, "margin": probe.margin, "unit": UNITS[probe.kind]}
        summary[probe.name] = {**numbers, "passed": p > alpha}
        if p <= alpha:
            worse.append(
                f"{probe.name} {old:.3f} -> {new:.3f} {UNITS[probe.kind]}, worse by more than {probe.margin:g} "
                f"(p {p:.2g} <= {alpha:g})"
            )
    if worse:
        return Probed(False, "; ".join(worse), summary)
    return Probed(True, f"no regression in {len(metrics)} probes (lowest corrected p {min(ps):.2g})", summary)


def _p_worse(probe: ProbeConfig, old_N: NDArray[np.float64], new_N: NDArray[np.float64]) -> float:
    """p-value against "the release is worse by the margin at most"."""
    worse_N = new_N - old_N if probe.kind == "loss" else old_N - new_N
    if np.array_equal(old_N, new_N):
        return 1.0
    draws = np.random.default_rng([SEED, int(digest_bytes(f"{probe.name}/probe".encode())[3:19], 16)])
    return below_zero(probe.margin - worse_N, draws)
