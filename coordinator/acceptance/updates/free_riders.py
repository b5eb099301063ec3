"""Does an update do anything: free riders send zeros, noise or next to nothing.

Two things must come together. The loss: a gain of a small part of what the round's others do
on *their* domains is ruled out on its own, and it does not help the hidden text either. And
the shape: it points nowhere (its cosine with the sum of the others is a small part of theirs,
as noise's is) or has next to no length. The loss alone is not enough, for past a trunk's start
the step of an honest contributor may overshoot and do harm alone, while the mean of many does
good; only where nearly all others are shown to gain does it decide by itself.

``ALPHA`` bounds the chance of calling an update a free rider that gains just ``LEAST_SHARE`` of
what others do; of one that gains more, or that looks like the others, it is lower still.
Where so few examples cannot tell, the word is ``unclear``, with how many would.

K  updates in the round

Source: Wellek 2010, "Testing statistical hypotheses of equivalence and noninferiority" (an effect
is called none when even a small one is ruled out); Fraboni et al. 2021,
https://arxiv.org/abs/2006.11901 (free riders and how they disguise).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.acceptance.hidden.feedback import p_told, resolution, told
from coordinator.acceptance.metric import BITS_PER_BYTE
from coordinator.acceptance.statistics.student import below, quantile
from coordinator.acceptance.updates.contribution import Effect
from coordinator.acceptance.updates.recognition import Recognised

__all__ = ["ALPHA", "LEAST_SHARE", "Work", "alignments", "free_rider"]

ALPHA = 0.01
"""Chance of ruling out a gain that is there."""

LEAST_SHARE = 0.1
"""Of the median of the round's other updates, in gain, length or cosine: less is none."""

MOST = 0.75
"""Share of the others that must be shown to gain, for the loss to decide by itself."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is known of one update.

    Attributes:
        own, hidden: of its score. norm: of the update. alignment: cosine with the sum of the others (``alignments``).
    """

    own: Effect
    hidden: Effect
    norm: float
    alignment: float


def free_rider(mine: Work, others: Sequence[Work]) -> Recognised:
    """Whether an update is a free rider's.

    Args:
        others: the round's other updates that passed their check; at least half of them honest.
    """
    if not others:
        return Recognised("unclear", "no other update in the round to compare with", {})
    evidence = _evidence(mine, others)
    typical, least = evidence["typical_gain"], evidence["least_gain"]
    step = resolution(BITS_PER_BYTE.spread, mine.own.examples)
    own, theirs = (told(gain, step, BITS_PER_BYTE.unit) for gain in (mine.own.gain, typical))
    found = f"on its own domain it gains {own}, others {theirs}; {_shape(evidence)}"
    no_gain = evidence["p_own"] <= ALPHA and evidence["p_hidden_helps"] > ALPHA
    nothing = min(evidence["norm_ratio"], evidence["alignment_ratio"]) < LEAST_SHARE
    if no_gain and (nothing or evidence["others_gain"] >= MOST):
        ruled = f"a gain of {LEAST_SHARE:.0%} of theirs is ruled out (p {p_told(evidence['p_own'])})"
        return Recognised("free-rider", f"{found}; {ruled}", evidence)
    if nothing:
        ruled = f"a gain of {LEAST_SHARE:.0%} of theirs (p {p_told(evidence['p_own'])})"
        more = f"{mine.own.examples} examples do not rule out {ruled}"
        return Recognised("unclear", f"{found}; {more}{_needed_words(mine.own, abs(typical) - least)}", evidence)
    return Recognised("honest", found, evidence)


def alignments(gram_KK: NDArray[np.float64]) -> list[float]:
    """Cosine of every update with the sum of all others; 0 where one of them is zero.

    Args:
        gram_KK: float64 [K, K], inner products, as ``merge.measure`` finds them.
    """
    with_all_K = gram_KK.sum(axis=1)
    squares_K = np.diagonal(gram_KK)
    others_K = gram_KK.sum() - 2 * with_all_K + squares_K
    lengths_K = np.sqrt(np.maximum(others_K, 0) * squares_K)
    dots_K = with_all_K - squares_K
    return [float(dot / length) if length > 0 else 0.0 for dot, length in zip(dots_K, lengths_K, strict=True)]


def _evidence(mine: Work, others: Sequence[Work]) -> dict[str, Any]:
    typical = median(work.own.gain for work in others)
    hidden = median(work.hidden.gain for work in others)
    # Where the others' steps overshoot, what they move the loss by still says what a real step is.
    least, least_hidden = LEAST_SHARE * abs(typical), LEAST_SHARE * abs(hidden)
    norm, alignment = median(work.norm for work in others), median(work.alignment for work in others)
    gaining = sum(1 - _p_gains(work.own, least) <= ALPHA for work in others)
    return {
        "own_gain": mine.own.gain,
        "own_error": mine.own.error,
        "typical_gain": typical,
        "least_gain": least,
        "p_own": _p_gains(mine.own, least),
        "p_hidden_helps": 1 - _p_gains(mine.hidden, least_hidden),
        "others_gain": gaining / len(others),
        "norm_ratio": mine.norm / norm if norm > 0 else 1.0,
        "alignment": mine.alignment,
        "typical_alignment": alignment,
        "alignment_ratio": mine.alignment / alignment if alignment > 0 else 1.0,
    }


def _p_gains(found: Effect, least: float) -> float:
    """p-value against "it gains ``least`` or more"."""
    if found.error == 0:
        return 0.0 if found.gain < least else 1.0
    return below((found.gain - least) / found.error, found.examples - 1)


def _needed_words(found: Effect, distance: float) -> str:
    """How many examples would tell an update that does nothing from a gain that is ``distance`` more."""
    reach = quantile(1 - ALPHA, found.examples - 1) * found.error / distance if distance > 0 else 0.0
    needed = math.ceil(min(reach**2 * found.examples, 1e9))
    return f", about {needed:,} could" if needed > found.examples else ""


def _shape(evidence: dict[str, Any]) -> str:
    ratio, aligned, typical = evidence["norm_ratio"], evidence["alignment"], evidence["typical_alignment"]
    return f"its norm is {ratio:.2g} of the others', its cosine with their sum {aligned:+.3f} (theirs {typical:+.3f})"
