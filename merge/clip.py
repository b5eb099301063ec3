"""Norm clipping: no update is longer than a multiple of what is usual in its round.

The yardstick is the round's own median, so no threshold has to be guessed. Of two middle
values the lower counts: with half of the contributors against it, the trunk is then slowed
down instead of taken over. Updates that change nothing have no say in what is usual.

Formula: x_k <- x_k * min(1, limit * m / |x_k|), m the lower median of the norms that are not 0
Tolerates: bounds what one liar can do, and removes nobody; with half of the norms against it the limit is theirs.
Cost: one sum of squares over the elements; the factors are folded into whatever follows.
Source: Sun et al. 2019, https://arxiv.org/abs/1911.07963 (norm thresholding); the median as
threshold from Andrew et al. 2021, https://arxiv.org/abs/1905.03871.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

__all__ = ["clip_factors", "median_norm"]


def clip_factors(norms: Sequence[float], limit: float) -> list[float]:
    """The factor for every update that brings its norm down to at most ``limit`` medians.

    Args:
        norms: Euclidean norm of each decoded update, in float64, finite.
        limit: multiple of the round's median norm, above 0.

    Returns:
        a factor in (0, 1] for each, exactly 1.0 where nothing is clipped.
    """
    assert limit > 0, limit
    assert all(math.isfinite(norm) and norm >= 0 for norm in norms), norms
    longest = limit * median_norm(norms)
    return [1.0 if norm <= longest else longest / norm for norm in norms]


def median_norm(norms: Sequence[float]) -> float:
    """The lower median of the norms that are not 0: what is usual in a round; 0 if all are."""
    moving = [norm for norm in norms if norm > 0]
    return statistics.median_low(moving) if moving else 0.0
