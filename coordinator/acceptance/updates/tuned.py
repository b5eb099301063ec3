"""Is an update tuned to the public shard: does it help the public examples more than those like them?

Public and hidden examples are drawn alike, so an update that learnt from other text helps both
alike. One that was trained on the public examples themselves helps those more. How much an
update helps differs far more from example to example than between the two sets: some examples
are easy to gain on, for everybody. Two numbers of an example say most of that beforehand: what it
costs the base, and what the round's other updates gain on it. The gains of the update on all
examples of both sets are fitted as

    gain = a + b * (loss of the base) + c * (median gain of the others) + e * (1 if public)

by least squares, and ``e`` is what it gains beyond that on public ones. Its error is the one that
stays right where the gains on some examples scatter more than on others (HC3). The median of the
others, so that one of them that is tuned as well takes nothing away.

The public and the hidden batch must hold the domains in the same shares. ``ALPHA`` is the chance
of calling an honest update tuned.

P  public examples
H  hidden examples
N  both, the public ones first
K  other updates in the round

Source: Yang & Tsiatis 2001, The American Statistician 55, 314-321 (adjusting a difference of two
groups by covariates); Deng et al. 2013, "Improving the sensitivity of online controlled
experiments"; MacKinnon & White 1985, Journal of Econometrics 29, 305-325 (HC3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from coordinator.acceptance.hidden.feedback import p_told, resolution, step_of, told
from coordinator.acceptance.metric import BITS_PER_BYTE
from coordinator.acceptance.statistics.student import below, quantile
from coordinator.acceptance.updates.compared import Compared
from coordinator.acceptance.updates.recognition import Recognised

__all__ = ["ALPHA", "LEAST", "tuned_to_public"]

ALPHA = 0.01

LEAST = 8
"""Examples of a set; fewer leave the fit nothing to be wrong about."""

_NOTHING = 1e-9  # of a column: rounding

Numbers = NDArray[np.float64]


def tuned_to_public(mine: Compared, others: Sequence[Compared]) -> Recognised:
    """Whether an update helps the public examples beyond the hidden ones.

    Args:
        others: the round's other updates, on the same examples; at least half of them honest. There may be none.

    Raises:
        AcceptanceError: too few examples of a set.
    """
    counts = len(mine.public.base_N), len(mine.hidden.base_N)
    if min(counts) < LEAST:
        raise AcceptanceError(
            f"{counts[0]} public and {counts[1]} hidden examples; at least {LEAST} of each are needed"
        )
    extra, error, freedom = _beyond(mine, others)
    p = 1.0 if error == 0 else 1 - below(extra / error, freedom)
    gains = float(-mine.public.change.mean()), float(-mine.hidden.change.mean())
    evidence: dict[str, Any] = {
        "public_gain": gains[0],
        "hidden_gain": gains[1],
        "extra_gain": extra,
        "error": error,
        "others": len(others),
        "p": p,
        "shown_from": quantile(1 - ALPHA, freedom) * error,
    }
    tuned = p <= ALPHA
    return Recognised("tuned" if tuned else "honest", _said(evidence, counts, mine.unit, tuned=tuned), evidence)


def _beyond(mine: Compared, others: Sequence[Compared]) -> tuple[float, float, int]:
    """What it gains on public examples beyond what the fit explains, the error of that, its degrees of freedom."""
    gain_N = -_both(mine.public.change, mine.hidden.change)
    columns = [_both(np.ones_like(mine.public.base_N), np.zeros_like(mine.hidden.base_N)), np.ones_like(gain_N)]
    columns.append(_both(mine.public.base_N, mine.hidden.base_N))
    if others:
        columns.append(np.median([-_both(other.public.change, other.hidden.change) for other in others], axis=0))
    known_NC = np.stack(_telling(columns), axis=1)
    weights_CN = np.linalg.pinv(known_NC)
    left_N = gain_N - known_NC @ (weights_CN @ gain_N)
    pull_N = np.einsum("nc,cn->n", known_NC, weights_CN)  # by how much an example fits the line to itself
    error = math.sqrt(float(np.sum((weights_CN[0] * left_N / np.maximum(1 - pull_N, 0.05)) ** 2)))
    return float(weights_CN[0] @ gain_N), error, len(gain_N) - known_NC.shape[1]


def _telling(columns: Sequence[Numbers]) -> list[Numbers]:
    """Columns that those before them do not explain; gains of others who all sent zeros, say, tell nothing."""
    told_of: list[Numbers] = []
    kept = []
    for column_N in columns:
        own_N = column_N - sum((axis_N * (axis_N @ column_N) for axis_N in told_of), np.zeros_like(column_N))
        length = float(np.linalg.norm(own_N))
        if length > _NOTHING * float(np.linalg.norm(column_N)):
            told_of.append(own_N / length)
            kept.append(column_N)
    return kept


def _both(public_P: Numbers, hidden_H: Numbers) -> Numbers:
    return np.concatenate([public_P, hidden_H])


def _said(evidence: dict[str, Any], counts: tuple[int, int], unit: str, *, tuned: bool) -> str:
    """With numbers that hidden examples can carry: it goes out."""
    step = resolution(BITS_PER_BYTE.spread, min(counts))
    public, hidden = (told(evidence[key], step, unit) for key in ("public_gain", "hidden_gain"))
    extra = told(evidence["extra_gain"], step_of(evidence["error"]), unit)
    among = f"the round's {evidence['others']} others" if evidence["others"] else "the base's losses"
    found = (
        f"it gains {public} on {counts[0]} public examples and {hidden} on {counts[1]} hidden ones like them, "
        f"{extra} more than {among} explain"
    )
    p = f"p {p_told(evidence['p'])}"
    return f"{found}, {p}" if tuned else f"{found}, {p}; from {evidence['shown_from']:.2g} on it would show"
