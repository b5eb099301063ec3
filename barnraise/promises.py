"""What a release promises by its supported tests, and what becomes of a promise under the next one.

A test is versioned like code. What it asks is its kind, the version of the kind's code, the kind's
options and the examples that it reads; how strictly it asks is its margin, how many examples it
looks at and has at hand, and the suite's error rate. A later test of the same name is

    same        asks the same, as strictly                              the promise is kept
    stricter    asks the same, in something more and in nothing less    it is kept, and more is promised
    looser      asks the same, in something less strictly               it is broken
    another     asks something else                                     it is broken, and a new one made

Nothing else of a test matters here: its weight divides the error rate and does not raise it, tests
in batches have the same error rate, and what a test needs to run or guards against, in words, is
no part of what it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Difference", "Fate", "Promise", "compare", "difference", "promises_of"]

Fate = Literal["same", "stricter", "looser", "another"]


@dataclass(frozen=True, slots=True)
class Promise:
    """What a supported test says. What a release of long ago did not write down is None, and fits anything.

    Attributes:
        asks: digest of the question.
        margin: how much worse still passes, in the metric's unit.
        examples: how many are looked at. at_hand: of so many.
        alpha: error rate of the suite.
    """

    asks: str | None = None
    margin: float | None = None
    examples: int | None = None
    at_hand: int | None = None
    alpha: float | None = None


@dataclass(frozen=True)
class Difference:
    """What is different between the promises of releases and those of the next one; names are sorted.

    Attributes:
        dropped: test -> what it is called now, where only its name is another; "" otherwise.
        replaced: the name stayed, the question did not.
        loosened, tightened: test -> in what, in words with numbers.
    """

    added: tuple[str, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()
    loosened: Mapping[str, str] = field(default_factory=dict)
    tightened: Mapping[str, str] = field(default_factory=dict)


def promises_of(summary: Mapping[str, Mapping[str, Any]]) -> dict[str, Promise]:
    """Test -> its promise, of the supported ones.

    Args:
        summary: test name -> numbers, as ``ReleaseTagged.summary`` has them.
    """
    return {
        name: Promise(
            asks=row.get("asks"),
            margin=row.get("margin"),
            examples=row.get("examples"),
            at_hand=row.get("at_hand"),
            alpha=row.get("alpha"),
        )
        for name, row in sorted(summary.items())
        if row["supported"]
    }


def compare(before: Promise, after: Promise) -> Fate:
    """What a later promise is to an earlier one."""
    if before.asks is not None and after.asks is not None and before.asks != after.asks:
        return "another"
    changes = _changes(before, after)
    if any(less for less, _ in changes):
        return "looser"
    return "stricter" if changes else "same"


def difference(before: Sequence[Mapping[str, Promise]], after: Mapping[str, Promise]) -> Difference:
    """What became of the promises of several releases, all of which the next one has to keep.

    Args:
        before: test -> promise, of each release.
    """
    known = {name for promises in before for name in promises}
    gone: dict[str, str] = {}
    fates: dict[Fate, dict[str, str]] = {"same": {}, "stricter": {}, "looser": {}, "another": {}}
    added = sorted(after.keys() - known)
    for promises in before:
        for name, promise in promises.items():
            if name not in after:
                gone[name] = gone.get(name) or _renamed(promise, {new: after[new] for new in added})
                continue
            fate = compare(promise, after[name])
            fates[fate].setdefault(name, _words(promise, after[name]))
    replaced = fates["another"].keys()
    loosened = {name: words for name, words in fates["looser"].items() if name not in replaced}
    kept = fates["stricter"].keys() - replaced - loosened.keys()
    return Difference(
        added=tuple(added),
        dropped=dict(sorted(gone.items())),
        replaced=tuple(sorted(replaced)),
        loosened=dict(sorted(loosened.items())),
        tightened={name: fates["stricter"][name] for name in sorted(kept)},
    )


def _renamed(promise: Promise, added: Mapping[str, Promise]) -> str:
    """The new name of a test that is gone; "" where none of the added ones asks the same as strictly."""
    if promise.asks is None:
        return ""
    same = (name for name, new in added.items() if new.asks == promise.asks)
    return next((name for name in same if compare(promise, added[name]) in {"same", "stricter"}), "")


def _changes(before: Promise, after: Promise) -> list[tuple[bool, str]]:
    """In what a promise is another one: whether that is less strict, and in words."""
    found = [
        _change("margin", before.margin, after.margin, more_is_less=True),
        _change("examples", before.examples, after.examples, more_is_less=False),
        _change("examples at hand", before.at_hand, after.at_hand, more_is_less=False),
        _change("error rate", before.alpha, after.alpha, more_is_less=True),
    ]
    return [change for change in found if change is not None]


def _change(what: str, old: float | None, new: float | None, *, more_is_less: bool) -> tuple[bool, str] | None:
    if old is None or new is None or old == new:
        return None
    return (new > old) == more_is_less, f"{what} {old:g} -> {new:g}"


def _words(before: Promise, after: Promise) -> str:
    """Every change, what is less strict first."""
    changes: Iterable[tuple[bool, str]] = sorted(_changes(before, after), key=lambda change: not change[0])
    return ", ".join(words for _, words in changes)
