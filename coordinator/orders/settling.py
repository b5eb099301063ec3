"""Settle orders that need no computing: read the facts, let the rules decide, record, all or nothing.

The facts are read after the ledger's sequence number, and the outcome is recorded only if
nothing else was recorded meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from barnraise.errors import OrderRefusedError, StorageError
from coordinator.ledger import Ledger, LedgerMovedError, OrderRow
from coordinator.ledger.order_events import OrderSettled
from coordinator.orders.kinds import Derive, Order, Revert, Revoke, order_of
from coordinator.orders.rules import Compute, Decision, Done, Facts, Refuse, decide

__all__ = ["facts_for", "settle"]

ATTEMPTS = 50


def settle(ledger: Ledger, row: OrderRow, clock: Callable[[], int]) -> Decision:
    """Settle an order if that needs no computing; else record what comes first, and leave it open.

    Args:
        clock: now, in milliseconds since the epoch.

    Returns:
        what was decided; of a :class:`Compute` the events are recorded.

    Raises:
        StorageError: the ledger is too busy; nothing was recorded.
    """
    for _ in range(ATTEMPTS):
        seen = ledger.last_seq()
        decision = _decision(row, ledger)
        try:
            match decision:
                case Done(events, reason, result):
                    settled = OrderSettled(row.order_id, True, reason, dict(result))
                    ledger.record(*events, settled, at_ms=clock(), expect_seq=seen)
                case Refuse(reason):
                    ledger.record(OrderSettled(row.order_id, False, reason), at_ms=clock(), expect_seq=seen)
                case Compute(events=events):
                    if events:
                        ledger.record(*events, at_ms=clock(), expect_seq=seen)
        except LedgerMovedError:
            continue
        return decision
    raise StorageError("the ledger is too busy to settle an order; nothing was recorded. Try again.")


def _decision(row: OrderRow, ledger: Ledger) -> Decision:
    try:
        order = order_of(row.order)
    except OrderRefusedError as error:
        return Refuse(str(error))
    return decide(order, facts_for(order, ledger))


def facts_for(order: Order, ledger: Ledger) -> Facts:
    """What the ledger says that bears on an order."""
    match order:
        case Revert(updates=names):
            named = {row.digest: row for name in names for row in ledger.updates_named(name)}
            return Facts(ledger.releases(), ledger.channels(), list(named.values()))
        case Revoke(contributor=name):
            keys = [row.contributor for row in ledger.contributors()]
            sent = [row for key in keys if key.startswith(name) for row in ledger.updates_of(key)]
            return Facts(ledger.releases(), ledger.channels(), sent, keys, ledger.bans())
        case Derive():
            run = ledger.run()
            name = run.name if run is not None else ""
            return Facts(ledger.releases(), ledger.channels(), run=name, derived=ledger.derived())
        case _:
            return Facts(ledger.releases(), ledger.channels(), bans=ledger.bans())
