"""Do two models differ in right and wrong on the same examples: McNemar's exact test.

Only the examples on which they differ say anything. If neither model is better, each of those is
lost or gained with an even chance, so their number follows the binomial distribution. A test that
forgets which examples belong together throws that away, and finds less.

This is the test for "is there any difference". "Not worse by a margin" is another question, in which
the examples on which both agree do count: proportions.py.

The exact test is used, not the mid-p one (Fagerland et al. 2013): that one is less cautious on
average, but may call more differences than its level allows.

Source: McNemar 1947, Psychometrika 12, 153-157; the exact version in Fagerland, Lydersen & Laake 2013,
https://doi.org/10.1186/1471-2288-13-91
"""

from __future__ import annotations

from math import comb

__all__ = ["any_difference", "more_lost"]


def any_difference(lost: int, gained: int) -> float:
    """Two-sided p-value against "neither is better"; 1 where they differ nowhere.

    Args:
        lost: examples that were right and are now wrong. gained: the other way round.
    """
    return min(1.0, 2 * more_lost(max(lost, gained), min(lost, gained)))


def more_lost(lost: int, gained: int) -> float:
    """One-sided p-value against "no more are lost than gained"."""
    differ = lost + gained
    ways = term = comb(differ, lost)
    for count in range(lost, differ):
        term = term * (differ - count) // (count + 1)  # whole numbers: exact for any number of examples
        ways += term
    return ways / (1 << differ)
