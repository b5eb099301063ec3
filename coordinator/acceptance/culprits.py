"""Find the updates that make a round fail, by group testing.

The question that is asked is always "does the round pass without these?", so what is merged
and tested stays a large part of the round: a few honest updates on their own may well fail
where all of them together pass.

    known: the round fails without ``removed``, and passes without ``removed`` and ``group``
    |-- group is one update: that is a culprit
    |-- passes without removed + first half:   go on in the first half
    |-- passes without removed + second half:  go on in the second half
    `-- neither: there are culprits in both. With the first half removed find those of the
        second, then with those removed find those of the first.

Nobody is blamed by inference. A culprit is an update of which two tested sets are known that
differ in it alone: the one with it fails, the one without it passes. Of two updates that do
harm only together, the first is blamed and the other merged.

With f culprits among K updates this takes about 2 f log2(K / f) + 2 f tests.

Source: delta debugging, Zeller & Hildebrandt 2002 (https://doi.org/10.1109/32.988498), with
the splitting of QuickXplain, Junker 2004.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

__all__ = ["CulpritSearch", "Trial"]

Updates = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """A subset that was merged and tested, sorted by digest, and whether it passed."""

    subset: Updates
    passed: bool


class CulpritSearch:
    """Which subset to try next, given what came of those before. Does nothing itself.

    Args:
        updates: digests of the whole round, which is known to fail.
        known: trials of an earlier search of the same round, to take it up again.

    Attributes:
        trials: what was recorded, in order; the evidence.
    """

    def __init__(self, updates: Iterable[str], known: Iterable[Trial] = ()) -> None:
        self._updates: Updates = tuple(sorted(set(updates)))
        self.trials: list[Trial] = list(known)
        # Without updates the candidate is the base, which passes.
        self._passed: dict[Updates, bool] = {self._updates: False, (): True}
        self._passed |= {trial.subset: trial.passed for trial in self.trials}
        self._culprits: Updates | None = None
        self._wanted: Updates | None = None
        self._steps = self._search(self._updates, ())
        self._advance(None)

    def next_subset(self) -> Updates | None:
        """The subset to merge and test now; None when the search is over. Asking twice changes nothing."""
        return self._wanted

    def record(self, subset: Updates, passed: bool) -> None:
        """Whether the candidate merged from ``subset``, the one asked for, passed."""
        assert subset == self._wanted, (subset, self._wanted)
        self.trials.append(Trial(subset, passed))
        self._passed[subset] = passed
        self._advance(passed)

    def result(self) -> Updates:
        """The culprits, sorted. Without them the round passes, and that was tested."""
        assert self._culprits is not None, "the search is not over"
        return self._culprits

    def _advance(self, answer: bool | None) -> None:
        """Go on until a subset is wanted of which nothing is known."""
        try:
            wanted = self._steps.send(answer) if answer is not None else next(self._steps)
            while wanted in self._passed:
                wanted = self._steps.send(self._passed[wanted])
            self._wanted = wanted
        except StopIteration as found:
            self._wanted, self._culprits = None, tuple(sorted(found.value))

    def _search(self, group: Updates, removed: Updates) -> Generator[Updates, bool, Updates]:
        """Culprits in ``group``, as the picture at the top says."""
        if len(group) <= 1:
            return group
        first, second = group[: len(group) // 2], group[len(group) // 2 :]
        for half in (first, second):
            if (yield self._without(removed + half)):
                return (yield from self._search(half, removed))
        of_second = yield from self._search(second, removed + first)
        if (yield self._without(removed + of_second)):
            return of_second
        of_first = yield from self._search(first, removed + of_second)
        return of_first + of_second

    def _without(self, removed: Updates) -> Updates:
        gone = set(removed)
        return tuple(update for update in self._updates if update not in gone)
