"""What follows from an event: the one place that writes the tables derived from the ledger.

``project`` runs inside the transaction that appends the event. What must happen once only
(a tag, an update, a nonce, a move of a channel) is refused here, which rolls the append back
too. Replaying all events from empty tables gives the same tables.

    received -- check --> checked -- release --> merged
       |                     |
       +---------------------+--> rejected (at fault) | unmerged (not at fault)

What orders lead to is in ``order_projection``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, assert_never

from sqlalchemy import Connection, insert, select, update

from barnraise.errors import ReplayedMessageError, TagExistsError
from coordinator.ledger import schema
from coordinator.ledger.audit_events import OperatorActed
from coordinator.ledger.events import (
    ChannelMoved,
    ContributorSeen,
    LeaseGranted,
    LeaseReleased,
    RecordedEvent,
    ReleaseTagged,
    RoundMerged,
    RoundMoved,
    RoundOpened,
    RoundTested,
    RunCreated,
    UpdateChecked,
    UpdateMerged,
    UpdateReceived,
    UpdateRejected,
    UpdateUnmerged,
)
from coordinator.ledger.key_events import KeyReplaced, RecoveryClaimed, RecoveryEnded, RecoveryRegistered
from coordinator.ledger.key_projection import project_key
from coordinator.ledger.notice_events import NoticesBegun, NoticeSettled
from coordinator.ledger.order_projection import project_order
from coordinator.ledger.row_writes import insert_row, require_one

__all__ = ["project"]


def project(connection: Connection, recorded: RecordedEvent) -> None:
    """Apply one event to the projections.

    Raises:
        TagExistsError: the version is tagged already.
        ReplayedMessageError: the update, its lease or a nonce was used already.
        RuntimeError: the event does not fit what the ledger holds; an error of our own.
    """
    at_ms, event = recorded.at_ms, recorded.event
    match event:
        case RunCreated():
            twice: Exception = RuntimeError(f"run {event.name} is in this ledger already")
            insert_row(connection, schema.runs, {**asdict(event), "created_at_ms": at_ms}, twice)
        case ContributorSeen():
            _contributor_seen(connection, event, at_ms)
        case LeaseGranted():
            _lease_granted(connection, event)
        case LeaseReleased():
            _lease_released(connection, event, at_ms)
        case UpdateReceived():
            _update_received(connection, event, at_ms)
        case UpdateChecked() | UpdateRejected() | UpdateMerged() | UpdateUnmerged():
            _update_moved(connection, event)
        case RoundOpened() | RoundMoved() | RoundMerged() | RoundTested():
            _round_changed(connection, event, at_ms)
        case ReleaseTagged():
            twice = TagExistsError(f"{event.version} is tagged already; a tag is written once")
            insert_row(connection, schema.releases, {**asdict(event), "seq": recorded.seq}, twice)
        case ChannelMoved():
            _channel_moved(connection, event)
        case NoticesBegun() | NoticeSettled():
            pass  # the outboxes of targets are read from the events
        case OperatorActed():
            pass  # the audit log is read from the events
        case RecoveryRegistered() | KeyReplaced() | RecoveryClaimed() | RecoveryEnded():
            project_key(connection, event, at_ms)
        case _:
            project_order(connection, event, recorded.seq, at_ms)


def _contributor_seen(connection: Connection, event: ContributorSeen, at_ms: int) -> None:
    known = schema.contributors.c.contributor == event.contributor
    if connection.execute(update(schema.contributors).where(known).values(name=event.name)).rowcount:
        return
    connection.execute(insert(schema.contributors).values({**asdict(event), "first_seen_at_ms": at_ms}))


def _lease_granted(connection: Connection, event: LeaseGranted) -> None:
    _use_nonce(connection, event.contributor, event.nonce, event.lease_id)
    refusal = RuntimeError(f"lease {event.lease_id} is out already, or round {event.round} was never opened")
    columns = {name: value for name, value in asdict(event).items() if name != "node"}  # which only the event keeps
    insert_row(connection, schema.leases, columns, refusal)
    starts = (schema.rounds.c.number == event.round) & schema.rounds.c.first_lease_at_ms.is_(None)
    connection.execute(update(schema.rounds).where(starts).values(first_lease_at_ms=event.issued_at_ms))


def _lease_released(connection: Connection, event: LeaseReleased, at_ms: int) -> None:
    """It ends now, as if its time were over; one that brought an update is not given back."""
    table = schema.leases.c
    lease = (table.lease_id == event.lease_id) & (table.contributor == event.contributor)
    ended = update(schema.leases).where(lease & table.update_digest.is_(None) & (table.expires_at_ms > at_ms))
    moved = connection.execute(ended.values(expires_at_ms=at_ms))
    require_one(moved.rowcount, f"lease {event.lease_id} is not open, so it cannot be given back")


def _update_received(connection: Connection, event: UpdateReceived, at_ms: int) -> None:
    body = event.envelope.get("body")
    if isinstance(body, dict) and "nonce" in body:
        _use_nonce(connection, event.contributor, body["nonce"], event.digest)
    refusal = ReplayedMessageError(f"update {event.digest[:15]}.. or its lease is in the ledger already")
    state = {"state": "received", "reason": "waits for its check", "evidence": {}, "received_at_ms": at_ms}
    columns = {name: value for name, value in asdict(event).items() if name != "team"}
    insert_row(connection, schema.updates, {**columns, **state}, refusal)
    alone = {key: columns[key] for key in ("contributor", "lease_id", "tokens", "steps")}
    for share in event.team or [alone]:
        _share_used(connection, event.digest, share)


def _share_used(connection: Connection, digest: str, share: dict[str, Any]) -> None:
    """A contributor's work is in an update; its lease brought that, and nothing else any more."""
    lease_id, contributor = share["lease_id"], share["contributor"]
    refusal = ReplayedMessageError(f"lease {lease_id[:8]}.. of {contributor[:8]} already brought an update")
    insert_row(connection, schema.shares, {**share, "digest": digest}, refusal)
    lease = (schema.leases.c.lease_id == lease_id) & (schema.leases.c.contributor == contributor)
    moved = connection.execute(update(schema.leases).where(lease).values(update_digest=digest))
    require_one(moved.rowcount, f"update {digest} names a lease that its contributor does not hold")


def _use_nonce(connection: Connection, contributor: str, nonce: str, subject: str) -> None:
    refusal = ReplayedMessageError(f"nonce {nonce[:8]}.. was used before; draw a new one for every message")
    insert_row(connection, schema.nonces, {"contributor": contributor, "nonce": nonce, "subject": subject}, refusal)


def _update_moved(
    connection: Connection, event: UpdateChecked | UpdateRejected | UpdateMerged | UpdateUnmerged
) -> None:
    """An update came into another state; what is said of it replaces what was said before."""
    match event:
        case UpdateChecked(digest, _, sums, reason, evidence):
            values: dict[str, Any] = {
                "state": "checked",
                "segment_square_sums": sums,
                "reason": reason,
                "evidence": evidence,
            }
            _move_update(connection, digest, ("received",), values)
        case UpdateRejected(digest, _, found_by, reason, evidence):
            rejected = {"state": "rejected", "found_by": found_by, "reason": reason, "evidence": evidence}
            _move_update(connection, digest, ("received", "checked"), rejected)
        case UpdateMerged(digest, _, version, weight):
            merged = {"state": "merged", "version": version, "weight": weight, "reason": f"merged in {version}"}
            _move_update(connection, digest, ("checked",), merged)
        case UpdateUnmerged(digest, _, reason, evidence):
            unmerged = {"state": "unmerged", "reason": reason, **({"evidence": evidence} if evidence else {})}
            _move_update(connection, digest, ("received", "checked"), unmerged)
        case _ as never:
            assert_never(never)


def _move_update(connection: Connection, digest: str, before: tuple[str, ...], values: dict[str, Any]) -> None:
    where = (schema.updates.c.digest == digest) & schema.updates.c.state.in_(before)
    moved = connection.execute(update(schema.updates).where(where).values(values))
    require_one(moved.rowcount, f"update {digest} is not {' or '.join(before)}, so it cannot be {values['state']}")


def _round_changed(
    connection: Connection, event: RoundOpened | RoundMoved | RoundMerged | RoundTested, at_ms: int
) -> None:
    match event:
        case RoundOpened():
            _round_opened(connection, event, at_ms)
        case RoundMoved(number, phase, reason, state):
            values = {"phase": phase, "reason": reason, "state": state, "moved_at_ms": at_ms}
            _update_round(connection, number, values)
        case RoundMerged(number, _, record):
            _update_round(connection, number, {"merge": record, "verdict": None})
        case RoundTested(number, passed, reason, summary, draws, suite):
            more = {**({"draws": draws} if draws else {}), **({"suite": suite} if suite else {})}
            verdict = {"passed": passed, "reason": reason, "tests": summary, **more}
            _update_round(connection, number, {"verdict": verdict})
        case _ as never:
            assert_never(never)


def _round_opened(connection: Connection, event: RoundOpened, at_ms: int) -> None:
    values = {
        **asdict(event),
        "phase": "collecting",
        "reason": f"collects updates to {event.base_version}",
        "opened_at_ms": at_ms,
        "moved_at_ms": at_ms,
        "state": {},
    }
    insert_row(connection, schema.rounds, values, RuntimeError(f"round {event.number} was opened already"))


def _update_round(connection: Connection, number: int, values: dict[str, Any]) -> None:
    moved = connection.execute(update(schema.rounds).where(schema.rounds.c.number == number).values(values))
    require_one(moved.rowcount, f"round {number} was never opened")


def _channel_moved(connection: Connection, event: ChannelMoved) -> None:
    table = schema.channels
    found = connection.execute(select(table.c.version).where(table.c.channel == event.channel)).scalar()
    if found != event.old:
        raise RuntimeError(f"channel {event.channel} is at {found}, expected {event.old}; it was moved meanwhile")
    values = {"version": event.new, "previous": event.old, "reason": event.reason, "probe": None}
    if found is None:
        connection.execute(insert(table).values(channel=event.channel, **values))
    else:
        connection.execute(update(table).where(table.c.channel == event.channel).values(values))
