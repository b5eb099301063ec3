"""Several tests have several chances to be wrong: p-values corrected for how many there are.

Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70, with weights as in its section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["holm"]


def holm(ps: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """Corrected p-values, in the same order; never above 1.

    A test passes at error rate alpha when its corrected p-value is at most alpha; that at least one
    passes wrongly has then at most chance alpha, however the tests depend on each other.

    Args:
        weights: share of the error rate that each test gets, above 0; None: all the same. A test
            with twice the weight needs half the evidence.
    """
    shares = [1.0] * len(ps) if weights is None else list(weights)
    corrected = [1.0] * len(ps)
    order = sorted(range(len(ps)), key=lambda index: ps[index] / shares[index])
    highest = 0.0
    for rank, index in enumerate(order):
        left = sum(shares[other] for other in order[rank:])
        highest = max(highest, min(1.0, ps[index] * (left / shares[index])))
        corrected[index] = highest
    return corrected
