"""Questions that pages ask: lean ones, for tables of a whole run, that leave out what is large in a row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Engine, Executable, Float, Select, cast, distinct, func, select

from coordinator.ledger import schema
from coordinator.ledger.engine import reading
from coordinator.ledger.events import LeaseGranted
from coordinator.ledger.migrate import require_current
from coordinator.ledger.rows import ReleaseRow, RoundRow, Tally

__all__ = ["ContributorSum", "Counted", "LeaseCounts", "PageReads"]

NEWEST = 100


@dataclass(frozen=True, slots=True)
class Counted:
    """How many updates, of how many contributors, and their bytes."""

    updates: int = 0
    contributors: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ContributorSum:
    """Updates of a contributor in one state: how many, their tokens, and when the newest of them came."""

    contributor: str
    state: str
    updates: int
    tokens: int
    last_at_ms: int


@dataclass(frozen=True, slots=True)
class LeaseCounts:
    """Leases of a contributor: given, those an update came for, and those that ran out without one.

    Attributes:
        machines: that the newest 100 of them went to; 0 where none said which it is.
    """

    given: int
    delivered: int
    expired: int
    machines: int = 0


@dataclass(frozen=True)
class PageReads:
    """Reads the tables of one ledger for pages."""

    engine: Engine

    def require_current(self) -> None:
        """Refuse a ledger that is not of this version's schema any more.

        Raises:
            LedgerVersionError: a newer Barnraise has migrated it.
        """
        require_current(self.engine)

    def tally(self) -> Tally:
        """Counts and sums over the whole run, all of the same moment."""
        updates = schema.updates.c
        with reading(self.engine) as connection:

            def one(query: Select[Any]) -> int:
                return int(connection.execute(query).scalar() or 0)

            def by(column: Column[str]) -> dict[str, int]:
                query = select(column, func.count()).group_by(column).order_by(column)
                return {value: int(count) for value, count in connection.execute(query)}

            return Tally(
                contributors=one(select(func.count()).select_from(schema.contributors)),
                leases=one(select(func.count()).select_from(schema.leases)),
                releases=one(select(func.count()).select_from(schema.releases)),
                rounds=by(schema.rounds.c.phase),
                updates=by(updates.state),
                received_bytes=one(select(func.sum(updates.size_bytes))),
                tokens=one(select(func.sum(cast(updates.tokens, Float(53))))),
            )

    def contributor_sums(self) -> list[ContributorSum]:
        """Of every contributor, the sums of updates with its work in each state; by key and state."""
        table, share = schema.updates.c, schema.shares.c
        sums = (
            func.count().label("updates"),
            func.sum(cast(share.tokens, Float(53))).label("tokens"),
            func.max(table.received_at_ms).label("last_at_ms"),
        )
        query = select(share.contributor, table.state, *sums).join_from(
            schema.shares, schema.updates, share.digest == table.digest
        )
        rows = self._all(query.group_by(share.contributor, table.state).order_by(share.contributor, table.state))
        return [ContributorSum(**{**row, "tokens": int(row["tokens"])}) for row in rows]

    def rounds_after(self, number: int) -> list[RoundRow]:
        """Rounds with a higher number, oldest first."""
        table = schema.rounds
        return [RoundRow(**row) for row in self._all(select(table).where(table.c.number > number).order_by("number"))]

    def releases_after(self, seq: int) -> list[ReleaseRow]:
        """Those tagged by later events, oldest first."""
        table = schema.releases
        return [ReleaseRow(**row) for row in self._all(select(table).where(table.c.seq > seq).order_by("seq"))]

    def newest_releases(self, before: int | None, limit: int) -> list[ReleaseRow]:
        """At most ``limit`` releases, of those tagged before an event where one is given; newest first."""
        table = schema.releases
        query = select(table) if before is None else select(table).where(table.c.seq < before)
        return [ReleaseRow(**row) for row in self._all(query.order_by(table.c.seq.desc()).limit(limit))]

    def parents(self) -> dict[str, str | None]:
        """Version -> the version that it was made from, oldest first."""
        table = schema.releases.c
        return {row["version"]: row["parent"] for row in self._all(select(table.version, table.parent).order_by("seq"))}

    def patch_sizes(self) -> dict[str, int]:
        """Version -> bytes of its patch, of all that have one, oldest first."""
        table = schema.releases.c
        query = select(table.version, table.patch).where(table.patch.is_not(None)).order_by(table.seq)
        return {row["version"]: int(row["patch"]["size_bytes"]) for row in self._all(query)}

    def patch_total(self) -> Counted:
        """How many patches there are, and their bytes."""
        patch = schema.releases.c.patch
        total = func.coalesce(func.sum(patch["size_bytes"].as_integer()), 0)
        (row,) = self._all(select(func.count().label("updates"), total.label("size_bytes")).where(patch.is_not(None)))
        return Counted(updates=int(row["updates"]), size_bytes=int(row["size_bytes"]))

    def merged(self) -> dict[str, Counted]:
        """Version -> what was merged in it."""
        table, share = schema.updates.c, schema.shares.c
        counts = func.count().label("updates"), func.sum(table.size_bytes).label("size_bytes")
        query = select(table.version, *counts)
        rows = self._all(query.where(table.version.is_not(None)).group_by(table.version))
        whose = select(table.version, func.count(distinct(share.contributor)).label("contributors"))
        whose = whose.join_from(schema.updates, schema.shares, share.digest == table.digest)
        many = {row["version"]: row["contributors"] for row in self._all(whose.group_by(table.version))}
        return {row["version"]: Counted(row["updates"], many[row["version"]], int(row["size_bytes"])) for row in rows}

    def merged_by(self, versions: list[str]) -> dict[str, int]:
        """Contributor -> how many updates with its work were merged in these releases."""
        table, share = schema.updates.c, schema.shares.c
        query = select(share.contributor, func.count().label("updates"))
        query = query.join_from(schema.shares, schema.updates, share.digest == table.digest)
        query = query.where(table.version.in_(versions)).group_by(share.contributor)
        return {row["contributor"]: int(row["updates"]) for row in self._all(query)}

    def lease_counts(self, contributor: str, now_ms: int) -> LeaseCounts:
        """What became of a contributor's leases."""
        table = schema.leases.c
        mine = select(func.count()).where(table.contributor == contributor)
        with reading(self.engine) as connection:
            given = connection.execute(mine).scalar() or 0
            delivered = connection.execute(mine.where(table.update_digest.is_not(None))).scalar() or 0
            late = mine.where(table.update_digest.is_(None) & (table.expires_at_ms <= now_ms))
            expired = connection.execute(late).scalar() or 0
            newest = select(table.lease_id).where(table.contributor == contributor)
            lately = [row[0] for row in connection.execute(newest.order_by(table.issued_at_ms.desc()).limit(NEWEST))]
            events = schema.events.c
            granted = select(events.payload).where((events.kind == LeaseGranted.kind) & events.subject.in_(lately))
            nodes = {json.loads(row[0]).get("node", "") for row in connection.execute(granted)} - {""}
            return LeaseCounts(int(given), int(delivered), int(expired), len(nodes))

    def newest_round_numbers(self, limit: int) -> list[int]:
        """Numbers of the newest rounds, oldest first."""
        table = schema.rounds.c
        rows = self._all(select(table.number).order_by(table.number.desc()).limit(limit))
        return [int(row["number"]) for row in reversed(rows)]

    def _all(self, query: Executable) -> list[dict[str, Any]]:
        with reading(self.engine) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]
