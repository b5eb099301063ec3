"""The cheap check of one update: does it, alone on the base, do clear harm?

A first sieve before merging. It uses few windows and a wide margin, and rejects only on
evidence: an honest update from unusual data worsens the other domains a little and passes,
poison that would drown a round does not. What it lets through, the suite judges.

N  windows
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from coordinator.acceptance.hidden.feedback import p_told, resolution, rounded
from coordinator.acceptance.metric import BITS_PER_BYTE
from coordinator.acceptance.statistics.resampling import below_zero

__all__ = ["ALPHA", "CheckVerdict", "check_alone"]

ALPHA = 0.01
"""Chance of rejecting an update that worsens the windows by just the margin."""

SEED = 0


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """Whether the update may go on, why, and the numbers behind that: rounded in the reason, exact in the evidence."""

    accepted: bool
    reason: str
    evidence: dict[str, Any]


def check_alone(
    base: NDArray[np.float64], alone: NDArray[np.float64], margin: float, unit: str = "bits/byte"
) -> CheckVerdict:
    """Compare the base with and without one update, window by window.

    Args:
        base, alone: float64 [N], loss of the base, and of the base plus the update, in ``unit``.
        margin: by which an update alone may worsen them.

    Raises:
        AcceptanceError: a score is missing or not finite.
    """
    if base.shape != alone.shape or base.ndim != 1 or len(base) == 0:
        raise AcceptanceError(f"the check has scores of {base.shape} and {alone.shape}, expected one a window")
    if not (np.isfinite(base).all() and np.isfinite(alone).all()):
        raise AcceptanceError("the check of an update has a score that is not finite")
    worsening = alone - base
    p = below_zero(margin - worsening, np.random.default_rng(SEED))
    before, after, change = float(base.mean()), float(alone.mean()), float(worsening.mean())
    accepted = p > ALPHA
    limit = f"more than +{margin:g} is {'not shown' if accepted else 'shown'}, p {p_told(p)}"
    step = resolution(BITS_PER_BYTE.spread, len(base))
    moved = f"{rounded(before, step):g} -> {rounded(after, step):g} {unit} (to {step:g})"
    reason = f"alone it moves {len(base)} held-out windows {moved}; {limit}"
    evidence = {"windows": len(base), "base": before, "alone": after, "change": change, "margin": margin, "p": p}
    return CheckVerdict(accepted, reason, evidence)
