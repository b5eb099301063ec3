"""The family of a run: its releases, what was made from them, and who comes from whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from barnraise.releases.derived.manifest import RELATIONS
from coordinator.ledger import DerivedRow, ReleaseRow
from coordinator.listing import accepted_in
from coordinator.web.layered import Drawn, draw

__all__ = ["VERDICTS", "Choice", "Family", "Kin", "Said", "family_of", "kin_of"]

MOST = 2000
RELEASE = "release"
VERDICTS = ("passed", "accepted", "reverted", "yanked", "untested")
"""The heaviest word that holds: yanked before reverted before accepted before passed."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a derived model's manifest says; empty where it cannot be read."""

    relation: str = "other"
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Kin:
    """A model of the family.

    Attributes:
        label: name and version; of a release the version alone.
        relation: ``release``, or how it was made from its parent. parent: label of that.
        href: of its page; a derived model has none but its line in the table.
    """

    label: str
    relation: str
    parent: str | None
    licence: str
    verdict: str
    at_ms: int
    href: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which models to show; "" stands for all."""

    relation: str = ""
    licence: str = ""
    verdict: str = ""

    def takes(self, kin: Kin) -> bool:
        asked = ((self.relation, kin.relation), (self.licence, kin.licence), (self.verdict, kin.verdict))
        return all(wanted in ("", found) for wanted, found in asked)


@dataclass(frozen=True, slots=True)
class Family:
    """What the page shows.

    Attributes:
        kin: those that were chosen, newest first. total: all that there are.
        ancestors: label -> the nearest ancestor that is shown, of those that have one.
        drawn: where they are; their layers count from the oldest.
        relations, licences, verdicts: what there is to choose from.
    """

    kin: tuple[Kin, ...]
    total: int
    ancestors: Mapping[str, str]
    drawn: Drawn[str]
    choice: Choice
    relations: tuple[str, ...]
    licences: tuple[str, ...]
    verdicts: tuple[str, ...]


def kin_of(
    releases: Sequence[ReleaseRow],
    derived: Iterable[DerivedRow],
    said: Callable[[DerivedRow], Said],
    *,
    run: str,
    licence: str,
    reverted: Iterable[str],
) -> list[Kin]:
    """All models of a run, in the order in which they were made.

    Args:
        run, licence: of the trunk. reverted: releases of which an update was taken out later.
    """
    gone = set(reverted)
    found = [
        (
            row.seq,
            Kin(
                label=row.version,
                relation=RELEASE,
                parent=row.parent,
                licence=licence,
                verdict=_verdict(row, gone),
                at_ms=row.created_at_ms,
                href=f"/releases/{row.version}",
            ),
        )
        for row in releases
    ]
    for made in derived:
        its = said(made)
        label = f"{made.name} {made.version}"
        parent = made.parent_version if made.parent_name == run else f"{made.parent_name} {made.parent_version}"
        anchor = f"#{made.name}-{made.version}"
        found.append((made.seq, Kin(label, its.relation, parent, its.licence, "untested", made.derived_at_ms, anchor)))
    return [kin for _, kin in sorted(found, key=lambda pair: pair[0])]


def _verdict(row: ReleaseRow, reverted: set[str]) -> str:
    if row.yanked is not None:
        return "yanked"
    if row.version in reverted:
        return "reverted"
    if accepted_in(row.summary):
        return "accepted"
    return "passed" if row.summary else "untested"


def family_of(everybody: Sequence[Kin], choice: Choice) -> Family:
    """Those who are chosen, each below the nearest ancestor who is chosen too.

    Args:
        everybody: in the order in which they were made; of more than 2,000 chosen ones the newest are shown.
    """
    chosen = [kin for kin in everybody if choice.takes(kin)][-MOST:]
    shown = {kin.label for kin in chosen}
    parents = {kin.label: kin.parent for kin in everybody}
    ancestors = {kin.label: above for kin in chosen if (above := _nearest(kin.parent, parents, shown)) is not None}
    return Family(
        kin=tuple(reversed(chosen)),
        total=len(everybody),
        ancestors=ancestors,
        drawn=draw(
            [kin.label for kin in chosen],
            [(above, label) for label, above in ancestors.items()],
            trunk=[kin.label for kin in chosen if kin.relation == RELEASE],
        ),
        choice=choice,
        relations=_there((RELEASE, *RELATIONS), [kin.relation for kin in everybody]),
        licences=tuple(sorted({kin.licence for kin in everybody if kin.licence})),
        verdicts=_there(VERDICTS, [kin.verdict for kin in everybody]),
    )


def _nearest(label: str | None, parents: Mapping[str, str | None], shown: set[str]) -> str | None:
    """The first of a line of ancestors who is shown."""
    walked: set[str] = set()
    while label is not None and label not in shown and label not in walked:
        walked.add(label)
        label = parents.get(label)
    return label if label in shown else None


def _there(order: Iterable[str], found: Iterable[str]) -> tuple[str, ...]:
    there = set(found)
    return tuple(name for name in order if name in there)
