"""One blob on its way: which bytes to ask for next, of whom, and what follows when it goes wrong.

Decisions only; :mod:`barnraise.releases.fetch` acts on them. The rules:

- A blob is asked of one source. When that breaks off, what is missing is asked of the source with
  the fewest strikes, which may be the same one if there is no other.
- A source that breaks off ``TRIES`` times in a row without giving anything, or says that it does
  not have the blob, is not asked for this blob again. When nobody is left, that is the error.
- Wrong bytes are thrown away. If one source gave all of them, it lied, and is not asked for this
  blob again. If several did, nobody knows who, and the whole is asked of one source after the
  other, alone. So every source can be wrong once, and the next one is named right.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from barnraise.errors import BarnraiseError, BlobMissingError, UnreachableError
from barnraise.message import BlobRef
from barnraise.releases.partial import Stretch, merged, missing

__all__ = ["EARLIER", "Standing", "Transfer"]

TRIES = 3
LIAR = 100
"""Strikes for wrong bytes: whoever sent them comes after everybody whose connection broke."""
EARLIER = -1
"""Stands for whoever gave the bytes that an earlier process left."""


@dataclass
class Standing:
    """What is known of ``sources`` by their behaviour; they are numbered in the order given.

    Attributes:
        busy: transfers under way. rangeless: those that send whole blobs only.
    """

    sources: int
    strikes: list[int] = field(init=False)
    busy: list[int] = field(init=False)
    rangeless: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.strikes = [0] * self.sources
        self.busy = [0] * self.sources

    def best(self, *, apart_from: set[int]) -> int | None:
        """The source to ask next; None when there is none."""
        left = [source for source in range(self.sources) if source not in apart_from]
        return min(left, key=lambda source: (self.strikes[source], self.busy[source], source), default=None)


@dataclass
class Transfer:
    """A blob that is being fetched.

    Attributes:
        source: whom it is asked of at present.
        flying: stretches that were asked for and have not ended, one each.
        givers: who gave the bytes that are there.
        fruitless: source -> how often in a row it broke off without giving anything.
        failed: sources that are not asked for this blob again, and why.
        alone: whether all bytes must come from one source, so that a wrong one can be named.
    """

    blob: BlobRef
    standing: Standing
    source: int | None = None
    flying: list[Stretch] = field(default_factory=list)
    givers: set[int] = field(default_factory=set)
    fruitless: dict[int, int] = field(default_factory=dict)
    failed: dict[int, BarnraiseError] = field(default_factory=dict)
    alone: bool = False

    def next_stretch(self, have: list[Stretch], most: int) -> Stretch | None:
        """What to ask for now; None if nothing is left that is not asked for already.

        Args:
            have: what is there, merged. most: bytes to ask for at once.
        """
        if self.source is None:
            self.source = self.standing.best(apart_from=set(self.failed))
        left = missing(merged([*have, *self.flying]), self.blob.size_bytes, most)
        if left and self.source in self.standing.rangeless:  # one stream, to the end
            return None if self.flying else (left[0][0], self.blob.size_bytes)
        return left[0] if left else None

    def broke(self, source: int, error: BarnraiseError, *, gained: int) -> bool:
        """``source`` did not give what it was asked for, or not all of it.

        Args:
            gained: bytes it gave all the same.

        Returns:
            Whether what is there must be thrown away, for the next source begins anew.
        """
        gone = not isinstance(error, UnreachableError)
        self.fruitless[source] = 0 if gained else self.fruitless.get(source, 0) + 1
        if gone or self.fruitless[source] >= TRIES:
            self.failed.setdefault(source, error)
        if not isinstance(error, BlobMissingError):  # a mirror that lags is not a bad one
            self.standing.strikes[source] += 1
        if source != self.source or (self.alone and source not in self.failed):
            return False
        self.source = self.standing.best(apart_from=set(self.failed))
        return self.alone and self.source != source

    def was_wrong(self) -> int | None:
        """The whole is there, and is not the blob: everything is thrown away.

        Returns:
            The source that lied, for :meth:`lied`, or None when nobody knows which.
        """
        givers, self.givers = self.givers, set()
        self.alone = True
        return givers.pop() if len(givers) == 1 and givers != {EARLIER} else None

    def lied(self, source: int, error: BarnraiseError) -> None:
        """``source`` gave all of it, so it is not asked for this blob again, and for others last."""
        self.standing.strikes[source] += LIAR
        self.failed[source] = error
        self.source = None

    @property
    def is_hopeless(self) -> bool:
        """Whether nobody is left to ask."""
        return len(self.failed) == self.standing.sources
