"""Find the updates that make a round fail, by group testing.

A few honest updates on their own may well fail where all of them together pass. So nothing is
tested on its own: what is asked about is tested on top of a large part that passes, the footing.

    1. A footing: half of the round, or one of some parts of a third to a sixth of it (footing.py).
    2. What is left is tested on top of it.
       |-- passes: it joins the footing
       `-- fails: so does one of its halves on top of the footing, which may have the other half by then.
           It is halved again; one update that fails on top of the footing is a culprit.

Of a small round, or where no footing is found, parts are taken out of the round instead:

    known: the round fails without ``removed``, and passes without ``removed`` and ``group``
    |-- group is one update: that is a culprit
    |-- passes without removed + first half:   go on in the first half
    |-- passes without removed + second half:  go on in the second half
    `-- neither: there are culprits in both. With the first half removed find those of the
        second, then with those removed find those of the first.

In the end each of them has a last chance: the rest of the round is tested with it. So whoever is
only there because a part of the round fails by chance is merged after all, and nobody is blamed by
inference: of a culprit two tested sets are known that differ in it alone, the rest of the round,
which passes, and the rest with it, which fails (:meth:`CulpritSearch.proof`). Of two updates that
do harm only together, one is blamed and the other merged.

What it costs, for f culprits among K updates:

- At most 2 f ceil(log2 K) merges, also when culprits do harm only together, and also where parts of
  fewer than a quarter of the round fail whatever is in them, for up to four culprits among 12 or more
  updates. (Up to 2, 8 or 17 merges for a footing; for each culprit log2 K and a last chance.)
- More where larger parts fail for being small, or parts fail by chance. It ends in any case, after
  at most 5 K merges.

A hint whom to suspect moves the cuts: each side then has half of the suspicion, so a culprit that
was suspected is found in fewer merges. Half of the suspicion is spread over everybody, so that a
wrong hint costs at most 6 merges more for each culprit.

Source: generalised binary splitting, Hwang 1972 (https://doi.org/10.1080/01621459.1972.10481257); of
taking out, delta debugging, Zeller & Hildebrandt 2002 (https://doi.org/10.1109/32.988498), with the
splitting of QuickXplain, Junker 2004; cutting where half of the weight is, Fano 1949.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from coordinator.acceptance.blame.footing import parts_to_stand_on

__all__ = ["CulpritSearch", "Proof", "Trial"]

Updates = tuple[str, ...]
MANY = 8  # one culprit of so many updates: what is left is then asked about in small groups
FEW = 2  # as small as that


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
        self._footing: set[str] = set()
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
        cut = _cut(self._weigh(updates)) if len(updates) > 1 else 0
        if (yield from self._find_footing(updates, cut)):
            culprits = yield from self._search_on_top(updates, cut)
        else:
            culprits = yield from self._search(updates, ())
        for update in culprits:
            others = tuple(other for other in culprits if other != update)
            if (yield self._without(others)):
                culprits = others
            else:
                self._proofs[update] = Proof(update, self._without(others), self._without(culprits))
        return culprits

    def _find_footing(self, updates: Updates, cut: int) -> Generator[Updates, bool, bool]:
        """Look for a large part that passes; whether there is one now."""
        first, second = updates[:cut], updates[cut:]
        parts = [second] if cut else []
        if cut and len(second) <= len(first) + 1:
            parts.append(first)
        for part in (*parts, *parts_to_stand_on(updates, self._weights)):
            if (yield tuple(sorted(part))):
                self._footing = set(part)
                return True
        return False

    def _search_on_top(self, updates: Updates, cut: int) -> Generator[Updates, bool, Updates]:
        """Culprits among what is not in the footing; all others are in it in the end."""
        culprits: Updates = ()
        for section in (updates[cut:], updates[:cut]):
            while left := tuple(update for update in section if update not in self._footing and update not in culprits):
                # With many culprits most groups fail, and small ones tell more.
                group = left if len(culprits) * MANY < len(updates) else left[-FEW:]
                if (yield from self._fails(group)):
                    culprits += yield from self._narrow(group)
        return culprits

    def _narrow(self, group: Updates) -> Generator[Updates, bool, Updates]:
        """The one culprit that is left of a group which fails on top of the footing; none if it does not, after all."""
        while len(group) > 1:
            cut = _cut(self._weigh(group))
            first, second = group[:cut], group[cut:]
            group = second if (yield from self._fails(second)) else first
        if (yield self._on_top(group)):
            self._footing.update(group)
            return ()
        return group

    def _fails(self, group: Updates) -> Generator[Updates, bool, bool]:
        """Whether the footing and a group fail. If not, they are the footing from now on.

        Not tested where the two hold a part that failed and was no smaller than the footing: it has a culprit in it.
        """
        both = self._on_top(group)
        if both not in self._passed and self._holds_a_failure(set(both)):
            return True
        if (yield both):
            self._footing.update(group)
            return False
        return True

    def _holds_a_failure(self, updates: set[str]) -> bool:
        return any(
            not passed and len(tried) >= len(self._footing) and updates.issuperset(tried)
            for tried, passed in self._passed.items()
        )

    def _on_top(self, group: Updates) -> Updates:
        return tuple(sorted(self._footing.union(group)))

    def _weigh(self, group: Updates) -> list[float]:
        return [self._weights[update] for update in group]

    def _search(self, group: Updates, removed: Updates) -> Generator[Updates, bool, Updates]:
        """Culprits in ``group``, as the picture at the top says."""
        if len(group) <= 1:
            return group
        cut = _cut(self._weigh(group))
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
