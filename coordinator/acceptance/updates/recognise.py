"""All recognisers on all updates of a round, when the round's last update was measured.

It needs what the merge has measured anyway (the Gram matrix of the updates, with the last
releases' patches as further rows) and the scores from the checks. Nothing is read or run again.

K  updates of the round
R  rows of the Gram matrix: the updates, then patches of releases
H  hidden examples, the same for all updates
P  public examples, the same for all updates
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.acceptance.updates.contribution import UpdateScore
from coordinator.acceptance.updates.copies import Row, copies
from coordinator.acceptance.updates.free_riders import Work, alignments, free_rider
from coordinator.acceptance.updates.recognition import Recognised, gravest
from coordinator.acceptance.updates.tuned import tuned_to_public

__all__ = ["Entry", "recognise"]


@dataclass(frozen=True)
class Entry:
    """One update of a round.

    Attributes:
        digest: of the update. received: place in the order of receipts.
        hidden_H, public_P: float64, its change of the loss on every example; None where nothing is public.
    """

    digest: str
    received: int
    score: UpdateScore
    hidden_H: NDArray[np.float64]
    public_P: NDArray[np.float64] | None


def recognise(entries: Sequence[Entry], gram_RR: NDArray[np.float64], patches: Sequence[str]) -> dict[str, Recognised]:
    """What is recognised of every update of a round, by digest.

    Args:
        entries: in the order of the Gram matrix's first rows.
        gram_RR: float64 [R, R], inner products over the whole model.
        patches: versions of the releases whose patches are the matrix's last rows.
    """
    count = len(entries)
    assert gram_RR.shape == (count + len(patches),) * 2, (gram_RR.shape, count, len(patches))
    rows = [Row(entry.digest, entry.received) for entry in entries] + [Row(version, None) for version in patches]
    alike = copies(gram_RR, rows)
    works = _works(entries, gram_RR[:count, :count])
    found = {}
    for k, entry in enumerate(entries):
        words = [free_rider(works[k], [work for j, work in enumerate(works) if j != k]), alike[k]]
        if entry.public_P is not None:
            words.append(_tuned(entry, [other for j, other in enumerate(entries) if j != k]))
        found[entry.digest] = gravest(words)
    return found


def _works(entries: Sequence[Entry], gram_KK: NDArray[np.float64]) -> list[Work]:
    """Where an update has no own domain, the hidden text stands for it."""
    norms_K, aligned = np.sqrt(np.diagonal(gram_KK)), alignments(gram_KK)
    return [
        Work(entry.score.own or entry.score.hidden, entry.score.hidden, float(norms_K[k]), aligned[k])
        for k, entry in enumerate(entries)
    ]


def _tuned(mine: Entry, others: Sequence[Entry]) -> Recognised:
    assert mine.public_P is not None
    theirs = [(other.public_P, other.hidden_H) for other in others if other.public_P is not None]
    public_KP = np.stack([public_P for public_P, _ in theirs]) if theirs else np.empty((0, len(mine.public_P)))
    hidden_KH = np.stack([hidden_H for _, hidden_H in theirs]) if theirs else np.empty((0, len(mine.hidden_H)))
    return tuned_to_public(mine.public_P, mine.hidden_H, public_KP, hidden_KH)
