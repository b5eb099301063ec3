"""Every test over all that was judged: releases, and candidates that were rejected. The read model of the curves.

What was judged never changes, so it is read once: :class:`CurveBook` keeps it and reads only what is new.
The first release is measured alone; every later one and every rejected candidate has a verdict.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from coordinator.ledger import Ledger, ReleaseRow, RoundRow
from coordinator.round import FINAL
from coordinator.web.pages.tests import is_higher_better

__all__ = ["Chapter", "Curve", "CurveBook", "Judged", "curves", "held_out", "judged_of_release", "judged_of_round"]

LOSS_UNIT = "bits/"


@dataclass(frozen=True, slots=True)
class Judged:
    """A model that was judged.

    Attributes:
        label: version of a release, ``round 12`` of a rejected candidate.
        means: test -> mean. units: test -> unit. higher: names of tests of which more is better.
    """

    at_ms: int
    label: str
    round: int
    accepted: bool
    means: Mapping[str, float]
    units: Mapping[str, str]
    higher: frozenset[str]


@dataclass(frozen=True, eq=False)  # one may have 10,000 points: it is itself, and what follows from it is kept
class Curve:
    """One test over everything that has it, in the order of time.

    Attributes:
        places: where each point is among all that was judged, from 0.
        of: tests that this is the mean of; empty for a test's own curve.
    """

    name: str
    unit: str
    higher_is_better: bool
    places: tuple[int, ...]
    points: tuple[Judged, ...]
    values: tuple[float, ...]
    of: tuple[str, ...] = ()

    @cached_property
    def released(self) -> list[float]:
        return [value for point, value in zip(self.points, self.values, strict=True) if point.accepted]

    @cached_property
    def rejected(self) -> int:
        return sum(not point.accepted for point in self.points)

    @cached_property
    def gain(self) -> float | None:
        """From the first release to the newest, positive where it got better; None with fewer than two."""
        values = self.released
        if len(values) < 2:
            return None
        return values[-1] - values[0] if self.higher_is_better else values[0] - values[-1]


def judged_of_release(row: ReleaseRow) -> Judged:
    """A release as a point."""
    return _judged(row.created_at_ms, row.version, row.round, True, row.summary)


def judged_of_round(row: RoundRow) -> Judged | None:
    """The candidate of a round that was rejected; None of any other round."""
    if row.phase != "rejected" or not row.verdict:
        return None
    return _judged(row.moved_at_ms, f"round {row.number}", row.number, False, row.verdict.get("tests", {}))


def _judged(at_ms: int, label: str, number: int, accepted: bool, rows: Mapping[str, Mapping[str, Any]]) -> Judged:
    known = {name: row for name, row in rows.items() if isinstance(row.get("mean"), int | float)}
    return Judged(
        at_ms=at_ms,
        label=label,
        round=number,
        accepted=accepted,
        means={name: float(row["mean"]) for name, row in known.items()},
        units={name: str(row.get("unit", "")) for name, row in known.items()},
        higher=frozenset(name for name, row in known.items() if is_higher_better(row)),
    )


def curves(judged: Sequence[Judged]) -> tuple[Curve, ...]:
    """One a test, of the tests that the newest release has, by name.

    Args:
        judged: in the order of time.
    """
    newest = next((point for point in reversed(judged) if point.accepted), None)
    if newest is None:
        return ()
    return tuple(_curve(name, judged, newest) for name in sorted(newest.means))


def _curve(name: str, judged: Sequence[Judged], newest: Judged) -> Curve:
    found = [(place, point) for place, point in enumerate(judged) if name in point.means]
    return Curve(
        name=name,
        unit=newest.units[name],
        higher_is_better=name in newest.higher,
        places=tuple(place for place, _ in found),
        points=tuple(point for _, point in found),
        values=tuple(point.means[name] for _, point in found),
    )


def held_out(judged: Sequence[Judged]) -> Curve | None:
    """The mean of all losses of the newest release, over everything that has all of them; None without a loss."""
    newest = next((point for point in reversed(judged) if point.accepted), None)
    if newest is None:
        return None
    units = [unit for unit in newest.units.values() if unit.startswith(LOSS_UNIT)]
    unit = max(sorted(set(units)), key=units.count, default="")
    names = tuple(name for name, its in sorted(newest.units.items()) if its == unit and name not in newest.higher)
    if not names:
        return None
    found = [(place, point) for place, point in enumerate(judged) if all(name in point.means for name in names)]
    return Curve(
        name="held-out loss",
        unit=unit,
        higher_is_better=False,
        places=tuple(place for place, _ in found),
        points=tuple(point for _, point in found),
        values=tuple(sum(point.means[name] for name in names) / len(names) for _, point in found),
        of=names,
    )


@dataclass(frozen=True, slots=True, eq=False)  # compared and kept by what it is, not by what is in it
class Chapter:
    """Everything that was judged, and what follows from it.

    Attributes:
        judged: in the order of time. loss: the mean of all losses, None without one. curves: one a test.
    """

    judged: tuple[Judged, ...]
    loss: Curve | None
    curves: tuple[Curve, ...]

    @classmethod
    def of(cls, judged: Sequence[Judged]) -> Chapter:
        return cls(tuple(judged), held_out(judged), curves(judged))


@dataclass
class CurveBook:
    """What was judged, as far as it was read already. For any number of threads."""

    ledger: Ledger
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: list[Judged] = field(default_factory=list)
    _release_seq: int = 0
    _round: int = 0
    _chapter: Chapter = field(default_factory=lambda: Chapter.of(()))

    def read(self) -> Chapter:
        """All of it; the same object as long as nothing new was judged."""
        with self._lock:
            self._read_releases(self.ledger.pages.releases_after(self._release_seq))
            self._read_rounds(self.ledger.pages.rounds_after(self._round))
            if len(self._seen) != len(self._chapter.judged):
                self._seen.sort(key=lambda point: (point.at_ms, point.round))  # nearly in order: next to no work
                self._chapter = Chapter.of(self._seen)
            return self._chapter

    def _read_releases(self, rows: Iterable[ReleaseRow]) -> None:
        for row in rows:
            self._seen.append(judged_of_release(row))
            self._release_seq = row.seq

    def _read_rounds(self, rows: Iterable[RoundRow]) -> None:
        for row in rows:
            if row.phase not in FINAL:
                return  # rounds end in their order
            self._round = row.number
            if (point := judged_of_round(row)) is not None:
                self._seen.append(point)
