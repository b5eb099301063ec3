"""What follows from key events: who has which key, recovery keys, and claims.

A key comes to a contributor once and leaves it once, so a chain of keys never branches, meets another or
comes back: the tables' uniqueness rules say so, and what no rule can say is looked up here.
"""

from __future__ import annotations

from typing import assert_never

from sqlalchemy import Connection, delete, select, update

from barnraise.errors import ReplayedMessageError
from coordinator.ledger import schema
from coordinator.ledger.key_events import KeyEvent, KeyReplaced, RecoveryClaimed, RecoveryEnded, RecoveryRegistered
from coordinator.ledger.row_writes import insert_row, require_one

__all__ = ["project_key"]


def project_key(connection: Connection, event: KeyEvent, at_ms: int) -> None:
    """Apply one event to the projections; see :func:`coordinator.ledger.projection.project`.

    Raises:
        ReplayedMessageError: a recovery request that was used before.
        RuntimeError: the event does not fit what the ledger holds; an error of our own.
    """
    match event:
        case RecoveryRegistered(contributor, recovery_key):
            values = {"contributor": contributor, "recovery_key": recovery_key, "registered_at_ms": at_ms}
            refusal = RuntimeError(f"{contributor} has a recovery key, or {recovery_key} is somebody's")
            insert_row(connection, schema.recoveries, values, refusal)
        case KeyReplaced():
            _replace(connection, event, at_ms)
        case RecoveryClaimed(claim_id, contributor, new_key, recovery_key, effective_at_ms):
            values = {
                "claim_id": claim_id,
                "contributor": contributor,
                "new_key": new_key,
                "recovery_key": recovery_key,
                "claimed_at_ms": at_ms,
                "effective_at_ms": effective_at_ms,
            }
            twice = ReplayedMessageError(f"recovery request {claim_id[:8]}.. was used before; draw a new nonce")
            insert_row(connection, schema.claims, values, twice)
        case RecoveryEnded():
            _end(connection, event, at_ms)
        case _ as never:
            assert_never(never)


def _replace(connection: Connection, event: KeyReplaced, at_ms: int) -> None:
    contributors, keys = schema.contributors.c.contributor, schema.keys.c
    first = connection.execute(select(contributors).where(contributors == event.new_key)).scalar()
    chain = select(keys.key, keys.place).where(keys.contributor == event.contributor).order_by(keys.place.desc())
    newest, place = connection.execute(chain.limit(1)).first() or (event.contributor, 0)
    if first is not None or event.old_key != newest:
        raise RuntimeError(f"{event.new_key} is somebody's, or {event.old_key} is not the key of {event.contributor}")
    values = {
        "key": event.new_key,
        "contributor": event.contributor,
        "replaces": event.old_key,
        "place": place + 1,
        "how": event.how,
        "since_ms": at_ms,
    }
    insert_row(connection, schema.keys, values, RuntimeError(f"{event.new_key} or {event.old_key} was used already"))


def _end(connection: Connection, event: RecoveryEnded, at_ms: int) -> None:
    table = schema.claims
    is_open = (table.c.claim_id == event.claim_id) & table.c.ended_at_ms.is_(None)
    moved = connection.execute(update(table).where(is_open).values(ended_at_ms=at_ms, done=event.done))
    require_one(moved.rowcount, f"claim {event.claim_id} was never made, or is over")
    if not event.done:
        connection.execute(delete(schema.recoveries).where(schema.recoveries.c.contributor == event.contributor))
