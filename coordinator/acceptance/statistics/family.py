"""Several tests in batches, one answer: which of them need more examples, and when the answer is sure.

A release passes when every supported test does, at p-values corrected over all of them (Holm). So
one test that is rejected ends it for all, and a test with enough evidence for its place in the
correction costs nothing more. p-values that hold at any time may be corrected at any time.

Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70; with evidence that grows by itself for
each test: Tavyrikov, Goeman & de Heide 2025, https://arxiv.org/abs/2501.19360
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coordinator.acceptance.statistics.holm import holm
from coordinator.acceptance.statistics.sequential import Answer, Decision, SequentialTest

__all__ = ["FamilyStep", "Progress", "next_batches"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one test of a suite is.

    Attributes:
        weight: its share of the error rate, beside the others' (Holm with weights).
    """

    name: str
    test: SequentialTest
    decision: Decision
    supported: bool = True
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class FamilyStep:
    """What to do next.

    Attributes:
        more: test -> so many further examples, if the answer is to go on.
    """

    answer: Answer
    reason: str
    more: Mapping[str, int]


def next_batches(progress: Sequence[Progress], alpha: float) -> FamilyStep:
    """Whether the suite's answer is sure, and if not, what to look at.

    Tests that are not supported decide nothing: each gets batches until it has its own answer, as
    long as the suite goes on. The chance that a suite of K tests rejects on evidence a candidate that
    is no worse is at most the sum of their ``beta``.

    Args:
        alpha: chance of accepting a candidate that is worse by the margin in at least one supported test.
    """
    supported = [one for one in progress if one.supported]
    for one in supported:
        if one.decision.answer == "reject":
            return FamilyStep("reject", f"{one.name}: {one.decision.reason}", {})
    weights = [one.weight for one in supported]
    corrected = holm([one.decision.p_anytime for one in supported], weights)
    if all(p <= alpha for p in corrected):
        highest = max(corrected, default=0.0)
        n = sum(one.decision.n for one in supported)
        reason = f"all {len(supported)} supported tests are sure after {n} examples (highest corrected p {highest:.2g})"
        return FamilyStep("accept", reason, {})
    # The best that can still come: all that is not known yet turns out perfect.
    best = holm([one.decision.p_anytime if _at_end(one) else 0.0 for one in supported], weights)
    for one, p in zip(supported, best, strict=True):
        if p > alpha:
            reason = f"{one.name}: corrected p {p:.2g} > {alpha:g} at best, and there are no more examples"
            return FamilyStep("reject", reason, {})
    open_ = [one for one, p in zip(supported, corrected, strict=True) if p > alpha and not _at_end(one)]
    unsure = [one for one in progress if not one.supported and one.decision.answer == "go on"]
    more = {one.name: min(one.test.batch, one.test.largest - one.decision.n) for one in [*open_, *unsure]}
    names = ", ".join(one.name for one in open_)
    return FamilyStep("go on", f"{len(open_)} of {len(supported)} supported tests are not sure yet: {names}", more)


def _at_end(one: Progress) -> bool:
    return one.decision.n >= one.test.largest
