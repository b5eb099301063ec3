"""Is an update tuned to the public shard: does it help the public examples more than those like them?

Public and hidden examples are drawn alike, so an update that learnt from other text helps both
alike. One that was trained on the public examples themselves helps those more. How much an
update helps differs far more from example to example than between the two sets: some examples
are easy to gain on, for everybody. What the round's other updates gain on the same example
takes most of that out: the update's change is compared with as many times theirs as fits the
hidden examples best, and what is left over is compared between the sets (a difference in
differences, adjusted).

The public and the hidden batch must hold the domains in the same shares. ``ALPHA`` is the chance
of calling an honest update tuned.

P  public examples
H  hidden examples
K  other updates in the round

Source: Deng et al. 2013, "Improving the sensitivity of online controlled experiments" (adjusting by
a covariate); Card & Krueger 1994 (difference in differences); Welch 1947.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from coordinator.acceptance.statistics.student import below, quantile, welch_freedom
from coordinator.acceptance.updates.recognition import Recognised

__all__ = ["ALPHA", "tuned_to_public"]

ALPHA = 0.01

Changes = NDArray[np.float64]


def tuned_to_public(
    public_P: Changes, hidden_H: Changes, others_public_KP: Changes, others_hidden_KH: Changes
) -> Recognised:
    """Whether an update helps the public examples beyond the hidden ones.

    Args:
        public_P, hidden_H: float64, its change of the loss on every example (bits per byte, below zero is better).
        others_public_KP, others_hidden_KH: float64, changes by the round's other updates; K may be 0.

    Raises:
        AcceptanceError: fewer than two examples of a set.
    """
    if min(len(public_P), len(hidden_H)) < 2:
        raise AcceptanceError(
            f"{len(public_P)} public and {len(hidden_H)} hidden examples; at least two of each are needed"
        )
    left_P, left_H, times = _adjusted(public_P, hidden_H, others_public_KP, others_hidden_KH)
    extra = float(left_H.mean() - left_P.mean())
    parts = [(float(left.var(ddof=1)) / len(left), len(left)) for left in (left_P, left_H)]
    error = math.sqrt(sum(square for square, _ in parts))
    freedom = welch_freedom(parts)
    p = 1.0 if error == 0 else 1 - below(extra / error, freedom)
    gains = float(-public_P.mean()), float(-hidden_H.mean())
    evidence: dict[str, Any] = {
        "public_gain": gains[0],
        "hidden_gain": gains[1],
        "extra_gain": extra,
        "error": error,
        "times_others": times,
        "p": p,
        "shown_from": quantile(1 - ALPHA, freedom) * error,
    }
    counts = f"{len(public_P)} public examples, {gains[1]:+.4f} on {len(hidden_H)} hidden ones"
    found = f"it gains {gains[0]:+.4f} bits/byte on {counts}"
    judged = f"{extra:+.4f} more than the round's others explain, p {p:.2g}"
    if p <= ALPHA:
        return Recognised("tuned", f"{found}: {judged} <= {ALPHA:g}", evidence)
    return Recognised("honest", f"{found}: {judged}; from {evidence['shown_from']:.4f} on it would show", evidence)


def _adjusted(
    public_P: Changes, hidden_H: Changes, others_public_KP: Changes, others_hidden_KH: Changes
) -> tuple[Changes, Changes, float]:
    """What the others' mean change does not explain, and how many times it was taken away."""
    if len(others_hidden_KH) == 0:
        return public_P, hidden_H, 0.0
    theirs_P, theirs_H = others_public_KP.mean(axis=0), others_hidden_KH.mean(axis=0)
    about_H = theirs_H - theirs_H.mean()
    square = float(about_H @ about_H)
    times = float(about_H @ (hidden_H - hidden_H.mean())) / square if square > 0 else 0.0
    return public_P - times * theirs_P, hidden_H - times * theirs_H, times
