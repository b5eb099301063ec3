"""All recognisers on all updates of a round, when the round's last update was measured.

It needs what the merge has measured anyway (the Gram matrix of the updates, with the last
releases' patches as further rows), the scores from the checks, and what these have kept of single
examples. Nothing is read or run again.

K  updates of the round
R  rows of the Gram matrix: the updates, then patches of releases
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.acceptance.updates.compared import Compared
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
        compared: its losses on the examples that all are looked at with; None where nothing is public.
    """

    digest: str
    received: int
    score: UpdateScore
    compared: Compared | None = None


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
        if entry.compared is not None:
            others = [other.compared for j, other in enumerate(entries) if j != k and other.compared is not None]
            words.append(tuned_to_public(entry.compared, [one for one in others if one.drawn == entry.compared.drawn]))
        found[entry.digest] = gravest(words)
    return found


def _works(entries: Sequence[Entry], gram_KK: NDArray[np.float64]) -> list[Work]:
    """Where an update has no own domain, the hidden text stands for it."""
    norms_K, aligned = np.sqrt(np.diagonal(gram_KK)), alignments(gram_KK)
    return [
        Work(entry.score.own or entry.score.hidden, entry.score.hidden, float(norms_K[k]), aligned[k])
        for k, entry in enumerate(entries)
    ]
