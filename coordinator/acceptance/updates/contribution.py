"""The score of one update: what it alone does to hidden text, to its own domain and to what is public.

Each is a mean over examples of the base's loss with and without the update, example by
example. The hidden and own examples are a fresh draw of the round, so nobody could tune to
them; a score costs one more pass over a few windows, no training.

Why its own domain too: an update trained on one domain may worsen the others a little and
still be good for the merge, where others take care of theirs. Judged on the mixture alone,
honest work in a trunk past its start would count as none.

N  examples
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from coordinator.acceptance.hidden.feedback import resolution, told
from coordinator.acceptance.metric import BITS_PER_BYTE
from coordinator.acceptance.statistics.student import quantile

__all__ = ["CONFIDENCE", "Effect", "PairedLosses", "UpdateScore", "effect", "score_update", "told_score"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PairedLosses:
    """Bits per byte of the same examples, float64 [N] each: by the base, and by the base plus the update."""

    base_N: NDArray[np.float64]
    alone_N: NDArray[np.float64]

    @property
    def change(self) -> NDArray[np.float64]:
        """Change of every example's loss, float64 [N]; below zero is better."""
        return self.alone_N - self.base_N

    def at(self, places: Sequence[int]) -> PairedLosses:
        """Those of some examples alone."""
        return PairedLosses(self.base_N[list(places)], self.alone_N[list(places)])


@dataclass(frozen=True, slots=True)
class Effect:
    """A mean change of the loss; below zero is better.

    Attributes:
        change: in bits per byte. error: its standard error. low, high: interval at ``confidence``.
        examples: how many are behind it.
    """

    change: float
    error: float
    low: float
    high: float
    examples: int
    confidence: float

    @property
    def gain(self) -> float:
        """Bits per byte by which the loss falls."""
        return -self.change


@dataclass(frozen=True, slots=True)
class UpdateScore:
    """What an update is worth alone.

    Attributes:
        hidden: on the round's fresh hidden batch, of all domains.
        own: on fresh text of the shard that it was leased; None if there is none.
        public: on the public shard; None if the run has none.
        value: gain in bits per byte, own domain and hidden batch weighed; higher is better.
        error: standard error of ``value``.
    """

    hidden: Effect
    own: Effect | None
    public: Effect | None
    value: float
    error: float
    reason: str

    def as_json(self) -> dict[str, Any]:
        """For the ledger: exact numbers. What goes out is rounded first (feedback.py)."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> UpdateScore:
        """What :meth:`as_json` gave."""
        effects = {key: Effect(**value[key]) if value[key] else None for key in ("hidden", "own", "public")}
        return cls(**{**value, **effects})


def effect(losses: PairedLosses, confidence: float = CONFIDENCE) -> Effect:
    """Mean change with its interval by Student's t.

    Raises:
        AcceptanceError: scores are missing or not finite.
    """
    base_N, alone_N = losses.base_N, losses.alone_N
    if base_N.shape != alone_N.shape or base_N.ndim != 1 or len(base_N) < 2:
        raise AcceptanceError(
            f"the score of an update has losses of {base_N.shape} and {alone_N.shape}, expected one an example and "
            "two examples at least"
        )
    if not (np.isfinite(base_N).all() and np.isfinite(alone_N).all()):
        raise AcceptanceError("the score of an update has a loss that is not finite")
    change_N, count = losses.change, len(base_N)
    change, error = float(change_N.mean()), float(change_N.std(ddof=1)) / math.sqrt(count)
    reach = quantile((1 + confidence) / 2, count - 1) * error
    return Effect(change, error, change - reach, change + reach, count, confidence)


def score_update(
    hidden: PairedLosses,
    own: PairedLosses | None = None,
    public: PairedLosses | None = None,
    *,
    own_share: float = 0.5,
    unit: str = "bits/byte",
) -> UpdateScore:
    """Score one update.

    Args:
        hidden, own, public: losses on examples that have none in common.
        own_share: weight of the own domain in ``value``, the rest is the hidden batch's.
        unit: of the losses, for the reason.

    Raises:
        AcceptanceError: losses are missing or not finite.
    """
    on_hidden = effect(hidden)
    on_own = None if own is None else effect(own)
    on_public = None if public is None else effect(public)
    value, error = on_hidden.gain, on_hidden.error
    if on_own is not None:
        value = own_share * on_own.gain + (1 - own_share) * on_hidden.gain
        error = math.hypot(own_share * on_own.error, (1 - own_share) * on_hidden.error)
    named = [("hidden", on_hidden), ("its own domain", on_own), ("public", on_public)]
    said = "; ".join(f"{name} {_said(found)}" for name, found in named if found is not None)
    return UpdateScore(on_hidden, on_own, on_public, value, error, f"alone it changes {said} ({unit})")


def told_score(score: UpdateScore) -> str:
    """A score as its contributor may know it: rounded to what so many hidden examples carry."""
    named = [("hidden text", score.hidden), ("its own domain", score.own), ("public text", score.public)]
    return "alone it changes " + "; ".join(
        f"{name} by {told(found.change, resolution(BITS_PER_BYTE.spread, found.examples), BITS_PER_BYTE.unit)}"
        for name, found in named
        if found is not None
    )


def _said(found: Effect) -> str:
    return f"{found.change:+.4f} ({found.low:+.4f} to {found.high:+.4f}, {found.examples} examples)"
