"""Is a share of right answers no more than a margin lower than another on the same examples?

Right and wrong is too coarse for a test that estimates its own spread: when only two of 48
examples happen to differ, it thinks it knows the difference to a hair. The score test takes
the spread that the margin itself implies, and so keeps its level for small samples.

With a margin the examples on which both models agree count, for they too show that little was
lost. Without one (is there any difference?) only the others do: mcnemar.py.

Source: Tango 1998, Statistics in Medicine 17, 891-908.
"""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["drop_interval", "paired_drop"]

BISECTIONS = 40


def paired_drop(lost: int, gained: int, examples: int, margin: float) -> float:
    """p-value against "the share of right answers dropped by ``margin`` or more".

    Args:
        lost: examples that were right and are now wrong. gained: the other way round.
        examples: all of them.
        margin: as a share, above 0.

    Returns:
        small when such a drop is clearly ruled out. 1 minus it is the p-value against "by ``margin`` or less".
    """
    if margin >= 1:
        return 0.0  # a share cannot drop by more than all of it
    # The likeliest share of gains, given that losses outnumber them by exactly the margin.
    linear = lost + gained + margin * (lost - gained) - 2 * examples * margin
    discriminant = linear * linear + 8 * examples * gained * margin * (1 - margin)
    gain_share = (linear + math.sqrt(discriminant)) / (4 * examples)
    variance = (2 * gain_share + margin - margin * margin) / examples
    return NormalDist().cdf(((lost - gained) / examples - margin) / math.sqrt(variance))


def drop_interval(lost: int, gained: int, examples: int, confidence: float) -> tuple[float, float]:
    """The drops that the same test does not rule out, as (lowest, highest); negative where more is right.

    Args:
        confidence: below 1; each end is wrong with half of what is left.
    """
    tail = (1 - confidence) / 2
    return -_highest_drop(gained, lost, examples, tail), _highest_drop(lost, gained, examples, tail)


def _highest_drop(lost: int, gained: int, examples: int, tail: float) -> float:
    low, high = -1.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _ruled_out(lost, gained, examples, middle) <= tail:
            high = middle
        else:
            low = middle
    return high


def _ruled_out(lost: int, gained: int, examples: int, drop: float) -> float:
    """p-value against a drop of that much or more, of either sign."""
    if drop > 0:
        return paired_drop(lost, gained, examples, drop)
    if drop < 0:
        return 1 - paired_drop(gained, lost, examples, -drop)
    return NormalDist().cdf((lost - gained) / math.sqrt(lost + gained)) if lost + gained else 0.5
