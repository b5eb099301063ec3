"""Where did a behaviour change: bisection over a chain of models, or over a family tree of them.

A model that is bad passes that on to those that are made from it. So a good model vouches for its
ancestors, and one that is bad for having the first bad one among itself and its ancestors:

    0.1.0 -- 0.1.1 -- 0.1.2 -- 0.1.3 -- 0.1.4        good: 0.1.0, bad: 0.1.4
             ~~~~~    ~~~~~    ~~~~~    ~~~~~        candidates: one of these is the first bad one

    0.1.2 is good: candidates are 0.1.3 and 0.1.4.   0.1.2 is bad: 0.1.1 and 0.1.2.

Of the candidates the one is asked about next that parts them best. One that cannot be tested is
never asked about again and parts nothing, so it stays a candidate until something below or above
it decides; at the end the first bad one may be among some that could not be tested, and they are
named. A good model is never left behind for an older one, nor a bad one for a younger one.

On a chain of n candidates that is ceil(log2 n) questions, and one more for each that turns out to be
untestable; no method needs fewer. In a tree the best question need not part them in halves, and
choosing the best one first is not always the best order, so it can be more.

Where two ancestors brought the same fault in, one of them is found. Where a fault came, went and
came back on a chain, what is found is a good model followed by a bad one, both tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from barnraise.errors import BrokenChainError, UsageError

__all__ = ["Answer", "Answered", "Bisection", "Introduced", "questions_at_most"]

Answer = Literal["good", "bad", "untestable"]


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one question."""

    node: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Introduced:
    """Where a behaviour changed.

    Attributes:
        first_bad: bad for sure; the first one unless one of ``untestable`` is.
        untestable: ancestors of it that may be bad too, in the order in which models were given.
        edges: (parent, child): on one of these it came in. Empty when it was there from the beginning.
        reason: this in a sentence.
    """

    first_bad: str
    untestable: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    reason: str


class Bisection:
    """Which model to test next, given what came of those before. Does nothing itself.

    Args:
        parents: model -> those that it was made from, for every ancestor of ``bad``; of equally good
            questions the one that comes first in here is asked.
        bad: known to be bad. good: known to be good; none where it may have been there from the beginning.
        known: answers of an earlier bisection of the same, to take it up again.

    Attributes:
        answered: what was recorded, in order.

    Raises:
        UsageError: a good model is the bad one or made from it, or did not lead to it.
        BrokenChainError: a model is its own ancestor, or a parent is not in ``parents``.
    """

    def __init__(
        self, parents: Mapping[str, Sequence[str]], bad: str, good: Iterable[str] = (), known: Iterable[Answered] = ()
    ) -> None:
        self._parents = {node: tuple(of) for node, of in parents.items()}
        self._places = {node: place for place, node in enumerate(self._parents)}
        self._ancestors = _ancestors(self._parents)
        self._bad = bad
        self._candidates = set(self._ancestors[bad])
        self._untestable: set[str] = set()
        for node in good:
            self._require_before(node)
            self._candidates -= self._ancestors[node]
        self.answered: list[Answered] = []
        self._wanted = self._best()
        self._take_up(list(known))

    @classmethod
    def chain(cls, nodes: Sequence[str], known: Iterable[Answered] = ()) -> Bisection:
        """Over models of which each was made from the one before; the first is good, the last is bad."""
        if len(set(nodes)) != len(nodes) or len(nodes) < 2:
            raise UsageError(f"a chain of {len(nodes)} models; it needs two different ends")
        parents = {node: nodes[place - 1 : place] if place else () for place, node in enumerate(nodes)}
        return cls(parents, nodes[-1], nodes[:1], known)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Models one of which is the first bad one, in the order in which they were given."""
        return tuple(sorted(self._candidates, key=self._places.__getitem__))

    def next_node(self) -> str | None:
        """The model to test now; None when it is over. Asking twice changes nothing."""
        return self._wanted

    def record(self, node: str, answer: Answer) -> None:
        """What the test of ``node``, the one asked for, said."""
        assert node == self._wanted, (node, self._wanted)
        self.answered.append(Answered(node, answer))
        if answer == "good":
            self._candidates -= self._ancestors[node]
        elif answer == "bad":
            self._candidates &= self._ancestors[node]
            self._bad = node
        else:
            self._untestable.add(node)
        self._wanted = self._best()

    def result(self) -> Introduced:
        """Where it changed."""
        assert self._wanted is None, "the bisection is not over"
        left = self.candidates
        untestable = tuple(node for node in left if node != self._bad)
        edges = tuple((parent, node) for node in left for parent in self._parents[node] if parent not in left)
        return Introduced(self._bad, untestable, edges, _reason(self._bad, untestable, edges))

    def _best(self) -> str | None:
        """The candidate that parts the others best; those that cannot be tested do not count."""
        live = self._candidates - self._untestable
        asked = [node for node in live if node != self._bad]
        if not asked:
            return None

        def parted(node: str) -> int:
            below = len(live & self._ancestors[node])
            return min(below, len(live) - below)

        return min(asked, key=lambda node: (-parted(node), self._places[node]))

    def _take_up(self, known: list[Answered]) -> None:
        """Go on as far as earlier answers lead."""
        answers = {one.node: one.answer for one in known}
        while self._wanted is not None and self._wanted in answers:
            self.record(self._wanted, answers[self._wanted])

    def _require_before(self, good: str) -> None:
        if good == self._bad:
            raise UsageError(f"{good} is both ends; name a good model and a later, bad one")
        if self._bad in self._ancestors.get(good, ()):
            raise UsageError(f"{good} was made from {self._bad}; the good end comes first")
        if good not in self._ancestors[self._bad]:
            raise UsageError(f"{self._bad} was not made from {good}; name one of its ancestors")


def questions_at_most(candidates: int, untestable: int = 0) -> int:
    """How many questions a chain takes at most.

    Args:
        candidates: models after the good end, the bad end among them. untestable: how many of them are.
    """
    return (max(1, candidates) - 1).bit_length() + untestable


def _ancestors(parents: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """Model -> itself and what it was made from, directly or not."""
    found: dict[str, frozenset[str]] = {}
    open_nodes = list(parents)
    under_way: set[str] = set()
    while open_nodes:
        node = open_nodes[-1]
        if node not in parents:
            raise BrokenChainError(f"{node} is given as a parent, and nothing is known of it")
        waiting = [parent for parent in parents[node] if parent not in found]
        if node in found or not waiting:
            open_nodes.pop()
            under_way.discard(node)
            found[node] = frozenset({node}).union(*(found[parent] for parent in parents[node]))
            continue
        under_way.add(node)
        if any(parent in under_way for parent in waiting):
            raise BrokenChainError(f"{node} is given as its own ancestor; do not trust these models")
        open_nodes += waiting
    return found


def _reason(bad: str, untestable: Sequence[str], edges: Sequence[tuple[str, str]]) -> str:
    if untestable:
        listed = ", ".join(untestable[:5]) + (f" and {len(untestable) - 5} more" if len(untestable) > 5 else "")
        many = len(untestable) > 1
        return f"{bad} is bad, or {listed} before it: {'those' if many else 'that one'} could not be tested"
    if not edges:
        return f"{bad} is bad, and nothing comes before it: it was so from the beginning"
    before = ", ".join(dict.fromkeys(parent for parent, _ in edges))
    return f"{bad} is the first bad one; what it was made from, {before}, is good"
