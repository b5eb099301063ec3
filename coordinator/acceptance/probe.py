"""Is a release worse than the one before: the statistics that move a channel back.

An acceptance test asks for proof that a candidate is *not* worse by a margin. A probe asks the
other way round, and needs proof that a release *is*: without data a channel stays where it is.
Several probes have several chances to be wrong, so their p-values are corrected.

N  examples of a probe

Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70 (correction); which test fits which
metric is in comparison.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from barnraise.digest import digest_bytes
from barnraise.suite import ProbeConfig
from coordinator.acceptance.kinds import Measured, make_kind
from coordinator.acceptance.statistics.comparison import Draws, worse_p, worsening
from coordinator.acceptance.statistics.holm import holm

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
    probes: Sequence[ProbeConfig], before: Mapping[str, Measured], now: Mapping[str, Measured], alpha: float
) -> Probed:
    """Compare a release with the one before it.

    Args:
        before, now: probe -> what it found. alpha: chance of moving back though no probe is worse by its margin.
    """
    looked = [
        (probe, make_kind(probe).metric, before[probe.name].values_N, now[probe.name].values_N) for probe in probes
    ]
    ps = holm(
        [
            worse_p(metric, worsening(metric, old_N, new_N), probe.margin, _draws(probe.name))
            for probe, metric, old_N, new_N in looked
        ]
    )
    worse, summary = [], {}
    for (probe, metric, old_N, new_N), p in zip(looked, ps, strict=True):
        old, new = float(old_N.mean()), float(new_N.mean())
        numbers = {"before": old, "now": new, "p": p, "margin": probe.margin, "unit": metric.unit}
        summary[probe.name] = {**numbers, "passed": p > alpha}
        if p <= alpha:
            worse.append(
                f"{probe.name} {old:.3f} -> {new:.3f} {metric.unit}, worse by more than {probe.margin:g} "
                f"(p {p:.2g} <= {alpha:g})"
            )
    if worse:
        return Probed(False, "; ".join(worse), summary)
    return Probed(True, f"no regression in {len(looked)} probes (lowest corrected p {min(ps):.2g})", summary)


def _draws(name: str) -> Draws:
    """Random numbers of one probe, whatever other probes there are."""
    return lambda purpose: np.random.default_rng([SEED, int(digest_bytes(f"{name}/{purpose}".encode())[3:19], 16)])
