"""Is an update somebody else's, or an old release's: what two of them share beyond what all share.

Honest updates of a round have much in common: a trunk at its start wants the same of
everybody, and their cosines may be 0.9. What they do not share is the noise of their batches.
So the cosine is taken of what is left of two updates when the direction common to all others
is taken out of both (a partial correlation, which needs the Gram matrix alone). A copy keeps
its original's noise: it stays at 1, at whatever scale and with either sign.

What to expect of honest ones follows: with a cosine of ``c`` between any two and ``q`` others,
what is common is known but for the others' own noise, and

    expected = (c - d) / (1 - d),    d = q c^2 / (1 + (q - 1) c),    at most 1/2 from q = 1 on.

``LIKE`` is where half of what is left of one is the other's. Noise of the size of the own part
must be added to a copy to go below; that much noise spoils it. Among only two updates nothing
common is known, and only a cosine above ``SAME`` is called a copy.

Of two alike the one that was received later is the copy; a release's patch is earlier than
any update made from it. Who received first need not have trained: one person with two keys
makes two alike.

K  rows: updates of the round and patches of releases before

Source: Fisher 1924, "The distribution of the partial correlation coefficient", Metron 3, 329-332.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.acceptance.updates.recognition import Recognised

__all__ = ["LIKE", "SAME", "Row", "copies", "expected_likeness"]

LIKE = math.sqrt(0.5)
SAME = 0.99
_NOTHING_LEFT = 1e-9  # of an update's energy: rounding


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the Gram matrix.

    Attributes:
        name: digest of an update, version of a release. received: place in the order of receipts; None for a
            release's patch, which was there before.
    """

    name: str
    received: int | None


def copies(gram_KK: NDArray[np.float64], rows: Sequence[Row]) -> list[Recognised]:
    """What is recognised of every update among ``rows``, in their order; patches have none.

    Args:
        gram_KK: float64 [K, K], inner products of the whole updates and patches.
    """
    lengths_K = np.sqrt(np.diagonal(gram_KK))
    safe_K = np.where(lengths_K > 0, lengths_K, 1.0)
    cosines_KK = gram_KK / np.outer(safe_K, safe_K)
    updates = [index for index, row in enumerate(rows) if row.received is not None]
    likeness_KK = np.eye(len(rows))
    for i in updates:
        for j in range(len(rows)):
            if i != j:
                likeness_KK[i, j] = likeness_KK[j, i] = _likeness(cosines_KK, i, j, updates)
    return [_judge(i, rows, updates, cosines_KK, likeness_KK) for i in updates]


def expected_likeness(cosine: float, others: int) -> float:
    """Of two honest updates, given the cosine between any two and how many others there are."""
    if others == 0 or cosine <= 0:
        return max(cosine, 0.0)
    known = others * cosine**2 / (1 + (others - 1) * cosine)
    return (cosine - known) / (1 - known) if known < 1 else 1.0


def _likeness(cosines_KK: NDArray[np.float64], i: int, j: int, updates: Sequence[int]) -> float:
    """Cosine of two rows without what is common to all other updates; all count with length 1."""
    others = [k for k in updates if k not in (i, j) and cosines_KK[k, k] > 0]
    plain = float(cosines_KK[i, j])
    common = float(cosines_KK[np.ix_(others, others)].sum()) if others else 0.0
    if common <= 0:
        return plain
    with_i, with_j = (float(cosines_KK[row, others].sum()) for row in (i, j))
    left_i, left_j = 1 - with_i**2 / common, 1 - with_j**2 / common
    if min(left_i, left_j) < _NOTHING_LEFT:  # the sum of the others is a multiple of it: no own part to compare
        return plain
    return (plain - with_i * with_j / common) / math.sqrt(left_i * left_j)


def _judge(
    i: int,
    rows: Sequence[Row],
    updates: Sequence[int],
    cosines_KK: NDArray[np.float64],
    likeness_KK: NDArray[np.float64],
) -> Recognised:
    mine = rows[i].received
    assert mine is not None, rows[i]
    earlier = [j for j, row in enumerate(rows) if j != i and (row.received is None or row.received < mine)]
    if not earlier or cosines_KK[i, i] == 0:
        return Recognised("honest", "nothing earlier to compare with" if not earlier else "it is zero", {})
    nearest = max(earlier, key=lambda j: abs(float(likeness_KK[i, j])))
    likeness, cosine = float(likeness_KK[i, nearest]), float(cosines_KK[i, nearest])
    pairs = [(a, b) for a in updates for b in updates if a < b and not {a, b} & {i, nearest}]
    typical = median(float(cosines_KK[a, b]) for a, b in pairs) if pairs else None
    others = len(updates) - 1 - (rows[nearest].received is not None)
    expected = None if typical is None else expected_likeness(typical, others)
    evidence: dict[str, Any] = {
        "nearest": rows[nearest].name,
        "likeness": likeness,
        "cosine": cosine,
        "typical_cosine": typical,
        "expected_likeness": expected,
        "limit": LIKE if others else SAME,
    }
    what = "the patch of" if rows[nearest].received is None else "the earlier update"
    said = f"with {what} {rows[nearest].name[:16]} it shares {likeness:+.2f} of what is not common to all"
    said += f" (cosine {cosine:+.2f}"
    said += ")" if expected is None else f"; of others in this round {expected:.2f} is expected)"
    if abs(likeness) >= evidence["limit"]:
        turned = ", with the sign turned" if likeness < 0 else ""
        return Recognised("copy", f"{said}, a copy from {evidence['limit']:.2f} on{turned}", evidence)
    return Recognised("honest", said, evidence)
