"""What a decision on an order is made of, and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coordinator.ledger import BanRow, DerivedRow, OrderRow, QuarantineRow, ReleaseRow, UpdateRow
from coordinator.ledger.events import Event

__all__ = ["Compute", "Decision", "Done", "Facts", "Refuse", "Wait", "several"]


@dataclass(frozen=True)
class Facts:
    """What the ledger says that bears on an order.

    Attributes:
        releases: all, oldest first. channels: channel -> version.
        updates: those that a revert names by how they begin.
        updates_of: contributor -> every update with its work in it, of those whom a revocation may mean.
        contributors: first keys of all whom the ledger knows. bans, quarantines: of those, the ones that are.
        later_keys: key that came in another's place -> the first key of its contributor.
        run: name of the trunk. derived: all that is listed of derived models.
        accepted: regressions that were accepted before this order, and wait for their candidate.
        trunk_moved: the trunk's channel was moved after this order was placed.
    """

    releases: Sequence[ReleaseRow]
    channels: Mapping[str, str]
    updates: Sequence[UpdateRow] = ()
    contributors: Sequence[str] = ()
    bans: Mapping[str, BanRow] = field(default_factory=dict)
    quarantines: Mapping[str, QuarantineRow] = field(default_factory=dict)
    later_keys: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    derived: Sequence[DerivedRow] = ()
    accepted: Sequence[OrderRow] = ()
    trunk_moved: bool = False
    updates_of: Mapping[str, Sequence[UpdateRow]] = field(default_factory=dict)

    @property
    def by_version(self) -> dict[str, ReleaseRow]:
        return {release.version: release for release in self.releases}


@dataclass(frozen=True, slots=True)
class Done:
    """Record ``events`` and the order is carried out. ``result`` is for programs."""

    events: tuple[Event, ...]
    reason: str
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compute:
    """Record ``events`` now; then make a release without ``updates``, which are merged and in the trunk.

    Attributes:
        reason: why they are left out. accepts: test -> why its getting worse is accepted.
    """

    updates: tuple[str, ...]
    reason: str
    accepts: Mapping[str, str]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is done yet: the order waits for what a round leads to."""

    reason: str


Decision = Done | Compute | Refuse | Wait


def several(names: Iterable[str], most: int = 5) -> str:
    """The first of some names, for a reason."""
    listed = list(names)
    return ", ".join([*listed[:most], *(["..."] if len(listed) > most else [])])
