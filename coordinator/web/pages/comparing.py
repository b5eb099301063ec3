"""Two releases side by side: tests, tensors, and who gave what in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from barnraise.releases.manifest import Manifest
from coordinator.ledger import ReleaseRow
from coordinator.web.pages.tests import VerdictRow, verdict_rows

__all__ = ["Between", "Change", "Comparison", "Path", "compared", "path_between"]

TENSORS_SHOWN = 50
"""Names of changed tensors that are listed."""


@dataclass(frozen=True, slots=True)
class Path:
    """How one release leads to another.

    Attributes:
        meet: the newest release that both come from; None where there is none.
        after: releases from there to the first one, oldest first. before: those from there to the other one.
    """

    meet: str | None
    after: tuple[str, ...]
    before: tuple[str, ...]

    @property
    def is_straight(self) -> bool:
        """Whether one is an ancestor of the other."""
        return self.meet is not None and not (self.after and self.before)


def path_between(parents: Mapping[str, str | None], version: str, against: str) -> Path:
    """From where two releases meet to each of them.

    Args:
        parents: version -> the one it was made from.
    """
    mine, other = _line(parents, version), _line(parents, against)
    places = {one: place for place, one in enumerate(mine)}
    meet = next((one for one in other if one in places), None)
    if meet is None:
        return Path(None, tuple(reversed(mine)), tuple(reversed(other)))
    return Path(meet, tuple(reversed(mine[: places[meet]])), tuple(reversed(other[: other.index(meet)])))


def _line(parents: Mapping[str, str | None], version: str) -> list[str]:
    found, at = [], parents.get(version, None)
    found.append(version)
    while at is not None and at in parents and len(found) <= len(parents):
        found.append(at)
        at = parents[at]
    return found


@dataclass(frozen=True, slots=True)
class Change:
    """A test in both releases; ``change`` is None where one of them does not have it."""

    name: str
    unit: str
    before: float | None
    after: float | None
    change: float | None
    is_better: bool | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A release against another one.

    Attributes:
        changed: names of tensors with another digest, the first of them; ``changed_total`` of all.
        parameters_most: elements of those tensors: no more than so many can be different.
        same_layout: whether both have the same tensors.
        patch_bytes: what to fetch from ``against`` on; None where patches do not lead here.
        contributors: (key, name, updates) of what was merged in between, most first.
    """

    version: str
    against: str
    path: Path
    tests: tuple[Change, ...]
    same_layout: bool
    changed: tuple[str, ...]
    changed_total: int
    tensors_total: int
    parameters_most: int
    parameters: int
    patch_bytes: int | None
    contributors: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Between:
    """What lies between two releases.

    Attributes:
        patches: version -> bytes of its patch. given: contributor -> updates merged on the path.
        names: contributor -> display name.
    """

    path: Path
    patches: Mapping[str, int]
    given: Mapping[str, int]
    names: Mapping[str, str]


def compared(
    row: ReleaseRow, against: ReleaseRow, manifests: tuple[Manifest, Manifest], between: Between
) -> Comparison:
    """One release against another.

    Args:
        manifests: of the release and of the other one.
    """
    mine, other = manifests
    path = between.path
    before = {entry.name: entry.digest for entry in other.tensors}
    sizes = {spec.name: spec.size for spec in mine.space.tensors}
    changed = [entry.name for entry in mine.tensors if before.get(entry.name) != entry.digest]
    steps = [between.patches.get(version) for version in path.after]
    reachable = path.meet == against.version and all(step is not None for step in steps)
    people = sorted(between.given.items(), key=lambda item: (-item[1], item[0]))
    return Comparison(
        version=row.version,
        against=against.version,
        path=path,
        tests=_tests(verdict_rows(against.summary), verdict_rows(row.summary)),
        same_layout=set(before) == set(sizes),
        changed=tuple(changed[:TENSORS_SHOWN]),
        changed_total=len(changed),
        tensors_total=len(mine.tensors),
        parameters_most=sum(sizes[name] for name in changed),
        parameters=mine.space.size,
        patch_bytes=sum(step for step in steps if step is not None) if reachable else None,
        contributors=tuple((key, between.names.get(key, ""), count) for key, count in people),
    )


def _tests(before: Sequence[VerdictRow], after: Sequence[VerdictRow]) -> tuple[Change, ...]:
    old, new = ({row.name: row for row in rows} for rows in (before, after))
    found = []
    for name in sorted({*old, *new}):
        one, other = old.get(name), new.get(name)
        row = other or one
        assert row is not None
        was, now = one.mean if one else None, other.mean if other else None
        change = now - was if was is not None and now is not None else None
        better = None if not change else (change > 0) == row.higher_is_better
        found.append(Change(name, row.unit, was, now, change, better))
    return tuple(found)
