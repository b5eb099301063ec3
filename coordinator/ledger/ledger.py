"""Record events, and answer questions about what follows from them.

One transaction appends events and updates the projections, or does neither. Whoever decides
on what the ledger says passes the sequence number that it read *first* as ``expect_seq``: if
anything was recorded since, nothing is, and the decision is made again on the new facts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Column, ColumnElement, Connection, Engine, Select, Table, delete, func, insert, select

from barnraise.digest import canonical_json
from coordinator.ledger import schema
from coordinator.ledger.engine import open_engine, reading, writing
from coordinator.ledger.events import EVENTS, Event, LeaseGranted, RecordedEvent
from coordinator.ledger.key_records import KeyRecords
from coordinator.ledger.migrate import migrate, require_current
from coordinator.ledger.moved import LedgerMovedError
from coordinator.ledger.page_reads import PageReads
from coordinator.ledger.projection import project
from coordinator.ledger.rows import (
    BanRow,
    ChannelRow,
    ContributionRow,
    ContributorRow,
    DerivedRow,
    LeaseRow,
    OrderRow,
    QuarantineRow,
    ReleaseRow,
    RoundRow,
    RunRow,
    UpdateRow,
)

__all__ = ["TRUNK", "Ledger"]

Row = TypeVar("Row")
REPLAY_BATCH = 500
TRUNK = "nightly"
"""The channel that the trunk is: rounds go on from where it is."""


class Ledger:
    """The run's memory. Safe to share between threads, and between processes on one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url_or_path: str | Path, *, durable: bool = True) -> Ledger:
        """Open, create or migrate the ledger at a path (SQLite) or database URL.

        Args:
            durable: whether what this object records survives a power cut. Without that the newest events may be gone
                afterwards, though receipts were given for them; what is older is whole. A process that is killed loses
                nothing either way. Of SQLite; a PostgreSQL server goes by its own ``synchronous_commit``.

        Raises:
            ConfigValueError, MissingExtraError: a URL of no known or no installed database.
            LedgerVersionError: a newer Barnraise has migrated it.
            StorageError: the file is no ledger, or cannot be read or written.
        """
        engine = open_engine(url_or_path, durable=durable)
        try:
            migrate(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    @classmethod
    def open_reading(cls, path: Path) -> Ledger:
        """Open the SQLite ledger of a run, perhaps one that is running, and write nothing.

        Raises:
            LedgerVersionError: it is of another schema than this Barnraise reads.
            StorageError: the file is missing or no ledger.
        """
        engine = open_engine(path, read_only=True)
        try:
            require_current(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        self._engine.dispose()

    @property
    def keys(self) -> KeyRecords:
        """Whose a key is, and which one is in use."""
        return KeyRecords(self._engine)

    @property
    def pages(self) -> PageReads:
        """What pages ask."""
        return PageReads(self._engine)

    # -- recording ------------------------------------------------------------------------

    def record(self, *events: Event, at_ms: int, expect_seq: int | None = None) -> list[RecordedEvent]:
        """Append events and project them: all or none, on the disk when this returns where the ledger is durable.

        Args:
            at_ms: when, in milliseconds since the epoch.
            expect_seq: the last sequence number that the caller's decision has seen.

        Raises:
            LedgerMovedError: the ledger is past ``expect_seq``.
            TagExistsError: a version is tagged already.
            ReplayedMessageError: an update, its lease or a nonce was used already.
            RuntimeError: an event that does not fit what the ledger holds.
            DiskFullError, StorageError: the database cannot write.
        """
        with writing(self._engine) as connection:
            last = _last_seq(connection)
            if expect_seq is not None and last != expect_seq:
                raise LedgerMovedError(f"the ledger is at {last}, the decision was made at {expect_seq}; decide again")
            recorded = []
            for seq, event in enumerate(events, start=last + 1):
                payload = canonical_json(asdict(event)).decode("ascii")
                row = {"seq": seq, "at_ms": at_ms, "kind": event.kind, "subject": event.subject, "payload": payload}
                connection.execute(insert(schema.events).values(row))
                recorded.append(_recorded(seq, at_ms, event.kind, payload))
                project(connection, recorded[-1])
            return recorded

    def rebuild(self) -> None:
        """Empty the projections and replay every event into them, in one transaction."""
        with writing(self._engine) as connection:
            for table in schema.PROJECTIONS:
                connection.execute(delete(table))
            seq = 0
            while batch := _events_after(connection, seq, REPLAY_BATCH):
                for recorded in batch:
                    project(connection, recorded)
                seq = batch[-1].seq

    # -- events ---------------------------------------------------------------------------

    def last_seq(self) -> int:
        """Sequence number of the newest event, 0 when there is none."""
        with reading(self._engine) as connection:
            return _last_seq(connection)

    def events_after(self, seq: int, limit: int = 500) -> list[RecordedEvent]:
        """At most ``limit`` events after ``seq``, oldest first."""
        with reading(self._engine) as connection:
            return _events_after(connection, seq, limit)

    def events_about(self, subject: str, kinds: Iterable[str], limit: int) -> list[RecordedEvent]:
        """The newest ``limit`` events of these kinds on one subject, oldest first."""
        table = schema.events.c
        query = select(schema.events).where((table.subject == subject) & table.kind.in_(list(kinds)))
        with reading(self._engine) as connection:
            rows: list[Any] = list(connection.execute(query.order_by(table.seq.desc()).limit(limit)))
        return [_recorded(row.seq, row.at_ms, row.kind, row.payload) for row in reversed(rows)]

    # -- run, contributors, rounds ----------------------------------------------------------

    def run(self) -> RunRow | None:
        return self._first(RunRow, select(schema.runs))

    def contributors(self) -> list[ContributorRow]:
        """By key."""
        return self._all(ContributorRow, select(schema.contributors).order_by(schema.contributors.c.contributor))

    def contributor(self, key: str) -> ContributorRow | None:
        return self._one(ContributorRow, schema.contributors, schema.contributors.c.contributor == key)

    def current_round(self) -> RoundRow | None:
        """The newest round, ended or not; None before the first one."""
        return self._first(RoundRow, select(schema.rounds).order_by(schema.rounds.c.number.desc()))

    def round(self, number: int) -> RoundRow | None:
        return self._one(RoundRow, schema.rounds, schema.rounds.c.number == number)

    def rounds(self) -> list[RoundRow]:
        """Oldest first."""
        return self._all(RoundRow, select(schema.rounds).order_by(schema.rounds.c.number))

    def newest_rounds(self, before: int | None, limit: int) -> list[RoundRow]:
        """At most ``limit`` rounds, of those before a number where one is given; oldest first."""
        table = schema.rounds
        query = select(table) if before is None else select(table).where(table.c.number < before)
        return self._all(RoundRow, query.order_by(table.c.number.desc()).limit(limit))[::-1]

    # -- leases -----------------------------------------------------------------------------

    def leases(self, round_number: int) -> list[LeaseRow]:
        """All leases of a round, oldest first."""
        table = schema.leases
        query = select(table).where(table.c.round == round_number)
        return self._all(LeaseRow, query.order_by(table.c.issued_at_ms, table.c.lease_id))

    def open_leases(self, round_number: int, now_ms: int) -> list[LeaseRow]:
        """Leases that may still bring an update: not expired, and none received under them."""
        return [
            lease for lease in self.leases(round_number) if lease.update_digest is None and now_ms < lease.expires_at_ms
        ]

    def lease(self, lease_id: str) -> LeaseRow | None:
        return self._one(LeaseRow, schema.leases, schema.leases.c.lease_id == lease_id)

    def lease_by_nonce(self, contributor: str, nonce: str) -> LeaseRow | None:
        """The lease that was granted on the request with this nonce."""
        table = schema.leases
        return self._one(LeaseRow, table, (table.c.contributor == contributor) & (table.c.nonce == nonce))

    def lease_holder(self, lease_id: str) -> str:
        """The node that a lease was granted to; "" where it did not say."""
        granted = self.events_about(lease_id, [LeaseGranted.kind], 1)
        return granted[0].event.node if granted and isinstance(granted[0].event, LeaseGranted) else ""

    def last_shard(self, contributor: str) -> str | None:
        """The shard of a contributor's newest lease, None without one."""
        table = schema.leases
        query = select(table.c.shard).where(table.c.contributor == contributor)
        return cast("str | None", self._scalar(query.order_by(table.c.round.desc(), table.c.issued_at_ms.desc())))

    def nonce_subject(self, contributor: str, nonce: str) -> str | None:
        """What a contributor's nonce was used for: a lease id or an update digest; None when unused."""
        table = schema.nonces
        query = select(table.c.subject).where((table.c.contributor == contributor) & (table.c.nonce == nonce))
        return cast("str | None", self._scalar(query))

    # -- updates ----------------------------------------------------------------------------

    # ``round`` is the field's word here, and shadows nothing that this class uses.
    def updates(self, round: int | None = None, state: str | None = None) -> list[UpdateRow]:  # noqa: A002
        """Updates, of one round and in one state where given, sorted by digest."""
        query: Select[Any] = select(schema.updates)
        if round is not None:
            query = query.where(schema.updates.c.round == round)
        if state is not None:
            query = query.where(schema.updates.c.state == state)
        return self._all(UpdateRow, query.order_by(schema.updates.c.digest))

    def update(self, digest: str) -> UpdateRow | None:
        return self._one(UpdateRow, schema.updates, schema.updates.c.digest == digest)

    def updates_named(self, name: str) -> list[UpdateRow]:
        """Updates whose digest begins so, with or without ``b3:``."""
        table = schema.updates
        begins = table.c.digest.startswith("b3:" + name.removeprefix("b3:"), autoescape=True)
        return self._all(UpdateRow, select(table).where(begins).order_by(table.c.digest))

    def updates_of(self, contributor: str) -> list[UpdateRow]:
        """Every update with work of a key in it, by digest."""
        table, theirs = schema.updates, schema.shares.c
        query = select(table).join(schema.shares, theirs.digest == table.c.digest)
        return self._all(UpdateRow, query.where(theirs.contributor == contributor).order_by(table.c.digest))

    def members(self, *digests: str) -> dict[str, tuple[str, ...]]:
        """Update -> whose work is in it, by key: of a team's several, the sender among them."""
        table = schema.shares.c
        query = select(table.digest, table.contributor).where(table.digest.in_(digests))
        found: dict[str, tuple[str, ...]] = dict.fromkeys(digests, ())
        with reading(self._engine) as connection:
            for digest, contributor in connection.execute(query.order_by(table.contributor)):
                found[digest] += (contributor,)
        return found

    def contributions(self, since_round: int) -> list[ContributionRow]:
        """Updates of a round and all later ones, by digest, without what is large in them; a team's for each member."""
        table = schema.updates.c
        query = _contributions().where(table.round >= since_round)
        return self._all(ContributionRow, query.order_by(table.digest, schema.shares.c.contributor))

    def contributions_of(self, contributor: str, limit: int) -> list[ContributionRow]:
        """The newest ``limit`` updates with work of a key in them, newest first."""
        table = schema.updates.c
        query = _contributions().where(schema.shares.c.contributor == contributor)
        return self._all(ContributionRow, query.order_by(table.received_at_ms.desc(), table.digest.desc()).limit(limit))

    def update_counts(self, round_number: int) -> dict[str, int]:
        """State -> number of a round's updates in it."""
        return self._counts(schema.updates.c.state, schema.updates.c.round == round_number)

    def unchecked_updates(self, contributor: str) -> int:
        """How many updates of a contributor wait for their check."""
        table = schema.updates
        counts = self._counts(table.c.state, table.c.contributor == contributor)
        return counts.get("received", 0)

    # -- releases -----------------------------------------------------------------------------

    def releases(self) -> list[ReleaseRow]:
        """Oldest first."""
        return self._all(ReleaseRow, select(schema.releases).order_by(schema.releases.c.seq))

    def release(self, version: str) -> ReleaseRow | None:
        return self._one(ReleaseRow, schema.releases, schema.releases.c.version == version)

    def release_of_round(self, number: int) -> ReleaseRow | None:
        """What a round was released as."""
        return self._one(ReleaseRow, schema.releases, schema.releases.c.round == number) if number else None

    def newest_release(self) -> ReleaseRow | None:
        return self._first(ReleaseRow, select(schema.releases).order_by(schema.releases.c.seq.desc()))

    def channels(self) -> dict[str, str]:
        """Channel -> version."""
        return {row.channel: row.version for row in self.channel_rows()}

    def channel_rows(self) -> list[ChannelRow]:
        """By name, with where they were before and why they were moved."""
        return self._all(ChannelRow, select(schema.channels).order_by(schema.channels.c.channel))

    def head(self) -> ReleaseRow | None:
        """The release that the trunk goes on from: where channel ``nightly`` is, else the newest."""
        version = self.channels().get(TRUNK)
        return self.release(version) if version is not None else self.newest_release()

    # -- orders -------------------------------------------------------------------------------

    def derived(self) -> list[DerivedRow]:
        """Listed versions of derived models, in the order of their import."""
        return self._all(DerivedRow, select(schema.derived).order_by(schema.derived.c.seq))

    def orders(self, *, waiting: bool = False) -> list[OrderRow]:
        """Oldest first; only those that are not settled when ``waiting``."""
        table = schema.orders
        query = select(table).where(table.c.settled_at_ms.is_(None)) if waiting else select(table)
        return self._all(OrderRow, query.order_by(table.c.seq))

    def order(self, order_id: str) -> OrderRow | None:
        return self._one(OrderRow, schema.orders, schema.orders.c.order_id == order_id)

    def bans(self) -> dict[str, BanRow]:
        """Key -> its ban."""
        rows = self._all(BanRow, select(schema.bans).order_by(schema.bans.c.contributor))
        return {row.contributor: row for row in rows}

    def ban(self, contributor: str) -> BanRow | None:
        return self._one(BanRow, schema.bans, schema.bans.c.contributor == contributor)

    def quarantines(self) -> dict[str, QuarantineRow]:
        """First key of a contributor -> why what it sends is not merged."""
        rows = self._all(QuarantineRow, select(schema.quarantines).order_by(schema.quarantines.c.contributor))
        return {row.contributor: row for row in rows}

    # -- how rows are read ----------------------------------------------------------------------

    def _all(self, row: type[Row], query: Select[Any]) -> list[Row]:
        with reading(self._engine) as connection:
            return [row(**found) for found in connection.execute(query).mappings()]

    def _first(self, row: type[Row], query: Select[Any]) -> Row | None:
        return next(iter(self._all(row, query.limit(1))), None)

    def _one(self, row: type[Row], table: Table, where: ColumnElement[bool]) -> Row | None:
        return self._first(row, select(table).where(where))

    def _scalar(self, query: Select[Any]) -> Any:
        with reading(self._engine) as connection:
            return connection.execute(query.limit(1)).scalar()

    def _counts(self, column: Column[str], where: ColumnElement[bool]) -> dict[str, int]:
        query = select(column, func.count()).where(where).group_by(column).order_by(column)
        with reading(self._engine) as connection:
            return {value: int(count) for value, count in connection.execute(query)}


def _contributions() -> Select[Any]:
    """Updates as their contributors did them: who, tokens and steps from the share, all else from the update."""
    own = {"contributor", "tokens", "steps"}
    columns = (schema.shares.c[f.name] if f.name in own else schema.updates.c[f.name] for f in fields(ContributionRow))
    return select(*columns).join_from(schema.updates, schema.shares, schema.shares.c.digest == schema.updates.c.digest)


def _last_seq(connection: Connection) -> int:
    return connection.execute(select(func.max(schema.events.c.seq))).scalar() or 0


def _events_after(connection: Connection, seq: int, limit: int) -> list[RecordedEvent]:
    query = select(schema.events).where(schema.events.c.seq > seq).order_by(schema.events.c.seq).limit(limit)
    rows: Iterable[Any] = connection.execute(query)
    return [_recorded(row.seq, row.at_ms, row.kind, row.payload) for row in rows]


def _recorded(seq: int, at_ms: int, kind: str, payload: str) -> RecordedEvent:
    """The event as the ledger holds it; what was recorded and what is read later are the same value."""
    return RecordedEvent(seq, at_ms, EVENTS[kind](**json.loads(payload)))
