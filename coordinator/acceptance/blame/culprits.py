"""Find the updates that make a round fail, by group testing.

The question that is asked is always "does the round pass without these?", so what is merged
and tested stays a large part of the round, half of it for one culprit and 1 / 2^f for f: a few
honest updates on their own may well fail where all of them together pass.

    known: the round fails without ``removed``, and passes without ``removed`` and ``group``
    |-- group is one update: that is a culprit
    |-- passes without removed + first half:   go on in the first half
    |-- passes without removed + second half:  go on in the second half
    `-- neither: there are culprits in both. With the first half removed find those of the
        second, then with those removed find those of the first.

In the end each of them has a last chance: the rest of the round is tested with it. So whoever is
only there because a small part of the round fails is merged after all, and nobody is blamed by
inference: of a culprit two tested sets are known that differ in it alone, the rest of the round,
which passes, and the rest with it, which fails (:meth:`CulpritSearch.proof`). Of two updates that
do harm only together, one is blamed and the other merged.

What it costs, for f culprits among K updates:

- At most 2 f ceil(log2 K) merges, where taking updates out never spoils a round that passes, also
  when culprits do harm only together. (For each of them 2 on every level, 3 where two part, and
  f - 1 last chances: 2 f log2(K / f) + 4 (f - 1) in powers of two.)
- More where that is not so: a part of the round fails because it is small, or by chance. Each
  update that was under suspicion then costs 3 on every level and a last chance, and where even
  the rest with one more of them is too small, innocents are blamed. It ends in any case, after at
  most 3.5 K merges.

A hint whom to suspect moves the cuts: each side then has half of the suspicion, so a culprit that
was suspected is found in fewer merges. Half of the suspicion is spread over everybody, so that a
wrong hint costs at most 6 merges more for each culprit.

Source: delta debugging, Zeller & Hildebrandt 2002 (https://doi.org/10.1109/32.988498), with
the splitting of QuickXplain, Junker 2004; cutting where half of the weight is, Fano 1949.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

__all__ = ["CulpritSearch", "Proof", "Trial"]

Updates = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """A subset that was merged and tested, sorted by digest, and whether it passed."""

    subset: Updates
    passed: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """Why an update is blamed: ``fails`` was tested and fails, ``passes`` is the same without the update."""

    culprit: str
    fails: Updates
    passes: Updates


class CulpritSearch:
    """Which subset to try next, given what came of those before. Does nothing itself.

    Args:
        updates: digests of the whole round, which is known to fail.
        known: trials of an earlier search of the same round, to take it up again.
        suspicion: how much an update is suspected, 0 when it is not in here; any scale. It decides
            what is tried first, never who is blamed.

    Attributes:
        trials: what was recorded, in order; the evidence.
    """

    def __init__(
        self, updates: Iterable[str], known: Iterable[Trial] = (), suspicion: Mapping[str, float] | None = None
    ) -> None:
        self._updates: Updates = tuple(sorted(set(updates)))
        self._weights = _weights(self._updates, suspicion or {})
        self.trials: list[Trial] = list(known)
        # Without updates the candidate is the base, which passes.
        self._passed: dict[Updates, bool] = {self._updates: False, (): True}
        self._passed |= {trial.subset: trial.passed for trial in self.trials}
        self._proofs: dict[str, Proof] = {}
        self._culprits: Updates | None = None
        self._wanted: Updates | None = None
        suspects_first = sorted(self._updates, key=lambda update: (-self._weights[update], update))
        self._steps = self._blame(tuple(suspects_first))
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

    def proof(self, culprit: str) -> Proof:
        """The two sets that one of the culprits is blamed for. One of them may be the whole round, or nothing."""
        assert self._culprits is not None, "the search is not over"
        return self._proofs[culprit]

    def _advance(self, answer: bool | None) -> None:
        """Go on until a subset is wanted of which nothing is known."""
        try:
            wanted = self._steps.send(answer) if answer is not None else next(self._steps)
            while wanted in self._passed:
                wanted = self._steps.send(self._passed[wanted])
            self._wanted = wanted
        except StopIteration as found:
            self._wanted, self._culprits = None, tuple(sorted(found.value))

    def _blame(self, updates: Updates) -> Generator[Updates, bool, Updates]:
        """Culprits of the round, after a last chance for each, in the order in which they were suspected."""
        culprits = yield from self._search(updates, ())
        for update in culprits:
            others = tuple(other for other in culprits if other != update)
            if (yield self._without(others)):
                culprits = others
            else:
                self._proofs[update] = Proof(update, self._without(others), self._without(culprits))
        return culprits

    def _search(self, group: Updates, removed: Updates) -> Generator[Updates, bool, Updates]:
        """Culprits in ``group``, as the picture at the top says."""
        if len(group) <= 1:
            return group
        cut = _cut([self._weights[update] for update in group])
        first, second = group[:cut], group[cut:]
        if (yield self._without(removed + first)):
            return (yield from self._search(first, removed))
        # Without a second part that is much the larger one little would be left to test. Going on as
        # if both had culprits costs no more, and keeps what is tested large.
        if len(second) <= len(first) + 1 and (yield self._without(removed + second)):
            return (yield from self._search(second, removed))
        of_second = yield from self._search(second, removed + first)
        if (yield self._without(removed + of_second)):
            return of_second
        of_first = yield from self._search(first, removed + of_second)
        return of_first + of_second

    def _without(self, removed: Updates) -> Updates:
        gone = set(removed)
        return tuple(update for update in self._updates if update not in gone)


def _weights(updates: Updates, suspicion: Mapping[str, float]) -> dict[str, float]:
    """The chance that each update is to blame, as far as anybody can tell: half of it is spread evenly."""
    told = {update: suspicion.get(update, 0.0) for update in updates}
    told = {update: value if math.isfinite(value) and value > 0 else 0.0 for update, value in told.items()}
    highest = max(told.values(), default=0.0)
    if highest == 0:
        return dict.fromkeys(updates, 1.0)
    scaled = {update: value / highest for update, value in told.items()}  # no sum of them overflows
    total = math.fsum(scaled.values())
    return {update: 0.5 / len(updates) + 0.5 * value / total for update, value in scaled.items()}


def _cut(weights: Sequence[float]) -> int:
    """Where to cut a group of at least two: the first part is the one nearest to half of the weight."""
    before = list(accumulate(weights))
    return min(range(1, len(weights)), key=lambda cut: abs(2 * before[cut - 1] - before[-1]))
