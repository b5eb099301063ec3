"""What follows from orders: the tables of orders, bans and derived models, and marks on releases, updates and channels.

placed --> settled (done, or refused with a reason)

merged --> reverted            an update that a later release was made without
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, assert_never

from sqlalchemy import Connection, delete, update

from coordinator.ledger import schema
from coordinator.ledger.order_events import (
    BanLifted,
    ChannelProbed,
    ContributorBanned,
    ContributorQuarantined,
    ModelDerived,
    OrderEvent,
    OrderPlaced,
    OrderSettled,
    QuarantineEnded,
    ReleasePromoted,
    ReleaseWithdrawn,
    ReleaseYanked,
    UpdateReverted,
)
from coordinator.ledger.row_writes import insert_row, require_one

__all__ = ["project_order"]


def project_order(connection: Connection, event: OrderEvent, seq: int, at_ms: int) -> None:
    """Apply one event to the projections; see :func:`coordinator.ledger.projection.project`.

    Raises:
        RuntimeError: the event does not fit what the ledger holds; an error of our own.
    """
    match event:
        case OrderPlaced(order_id, order):
            values = {"order_id": order_id, "seq": seq, "order": order, "placed_at_ms": at_ms}
            insert_row(connection, schema.orders, values, RuntimeError(f"order {order_id} is in this ledger already"))
        case OrderSettled():
            _settle(connection, event, at_ms)
        case ReleaseYanked(version, reason):
            _mark_release(connection, version, {"yanked": reason})
        case ReleasePromoted(version):
            _mark_release(connection, version, {"promoted_at_ms": at_ms})
        case ReleaseWithdrawn(version):
            _mark_release(connection, version, {"promoted_at_ms": None})
        case ModelDerived():
            values = {**asdict(event), "seq": seq, "derived_at_ms": at_ms}
            insert_row(connection, schema.derived, values, RuntimeError(f"{event.subject} is listed already"))
        case UpdateReverted():
            _revert(connection, event)
        case ContributorBanned(contributor, since_ms, reason):
            values = {"contributor": contributor, "since_ms": since_ms, "reason": reason, "banned_at_ms": at_ms}
            insert_row(connection, schema.bans, values, RuntimeError(f"{contributor} is banned already"))
        case BanLifted(contributor):
            gone = connection.execute(delete(schema.bans).where(schema.bans.c.contributor == contributor))
            require_one(gone.rowcount, f"{contributor} is not banned")
        case ContributorQuarantined(contributor, reason):
            values = {"contributor": contributor, "reason": reason, "since_ms": at_ms}
            twice = RuntimeError(f"{contributor} is in quarantine already")
            insert_row(connection, schema.quarantines, values, twice)
        case QuarantineEnded(contributor):
            table = schema.quarantines
            gone = connection.execute(delete(table).where(table.c.contributor == contributor))
            require_one(gone.rowcount, f"{contributor} is not in quarantine")
        case ChannelProbed():
            _probed(connection, event)
        case _ as never:
            assert_never(never)


def _settle(connection: Connection, event: OrderSettled, at_ms: int) -> None:
    table = schema.orders
    waits = (table.c.order_id == event.order_id) & table.c.settled_at_ms.is_(None)
    values = {"settled_at_ms": at_ms, "done": event.done, "reason": event.reason, "result": event.result}
    moved = connection.execute(update(table).where(waits).values(values))
    require_one(moved.rowcount, f"order {event.order_id} was never placed, or is settled already")


def _mark_release(connection: Connection, version: str, values: dict[str, Any]) -> None:
    table = schema.releases
    moved = connection.execute(update(table).where(table.c.version == version).values(values))
    require_one(moved.rowcount, f"{version} was never tagged")


def _revert(connection: Connection, event: UpdateReverted) -> None:
    table = schema.updates
    again = (table.c.state == "reverted") & (table.c.reverted_in != event.version)  # the trunk was rolled back before
    merged = (table.c.digest == event.digest) & ((table.c.state == "merged") | again)
    values = {"state": "reverted", "reason": event.reason, "reverted_in": event.version}
    moved = connection.execute(update(table).where(merged).values(values))
    require_one(moved.rowcount, f"update {event.digest} is not merged, so it cannot be reverted")


def _probed(connection: Connection, event: ChannelProbed) -> None:
    table = schema.channels
    there = (table.c.channel == event.channel) & (table.c.version == event.version)
    probe = {"against": event.against, "passed": event.passed, "reason": event.reason, "tests": event.summary}
    moved = connection.execute(update(table).where(there).values(probe=probe))
    require_one(moved.rowcount, f"channel {event.channel} is not at {event.version}")
