"""Is a share of right answers no more than a margin lower than another on the same examples?

Right and wrong is too coarse for a test that estimates its own spread: when only two of 48
examples happen to differ, it thinks it knows the difference to a hair. The score test takes
the spread that the margin itself implies, and so keeps its level for small samples.

Source: Tango 1998, Statistics in Medicine 17, 891-908.
"""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["paired_drop"]


def paired_drop(lost: int, gained: int, examples: int, margin: float) -> float:
    """p-value against "the share of right answers dropped by ``margin`` or more".

    Args:
        lost: examples that were right and are now wrong. gained: the other way round.
        examples: all of them.
        margin: as a share, above 0.

    Returns:
        small when such a drop is clearly ruled out.
    """
    if margin >= 1:
        return 0.0  # a share cannot drop by more than all of it
    # The likeliest share of gains, given that losses outnumber them by exactly the margin.
    linear = lost + gained + margin * (lost - gained) - 2 * examples * margin
    discriminant = linear * linear + 8 * examples * gained * margin * (1 - margin)
    gain_share = (linear + math.sqrt(discriminant)) / (4 * examples)
    variance = (2 * gain_share + margin - margin * margin) / examples
    return NormalDist().cdf(((lost - gained) / examples - margin) / math.sqrt(variance))
