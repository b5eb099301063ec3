"""Settle orders that need no computing: read the facts, let the rules decide, record, all or nothing.

The facts are read after the ledger's sequence number, and the outcome is recorded only if
nothing else was recorded meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from barnraise.errors import OrderRefusedError
from coordinator.ledger import TRUNK, Ledger, OrderRow, until_recorded
from coordinator.ledger.events import ChannelMoved
from coordinator.ledger.order_events import OrderSettled
from coordinator.orders.decision import Compute, Decision, Done, Facts, Refuse, Wait
from coordinator.orders.kinds import (
    AcceptRegression,
    Derive,
    EndQuarantine,
    LiftBan,
    Order,
    Quarantine,
    Revert,
    Revoke,
    WithdrawAcceptance,
    order_of,
)
from coordinator.orders.rules import decide

__all__ = ["facts_for", "outlook", "settle"]


def settle(ledger: Ledger, row: OrderRow, clock: Callable[[], int]) -> Decision:
    """Settle an order if that needs no computing; else record what comes first, and leave it open.

    Args:
        clock: now, in milliseconds since the epoch.

    Returns:
        what was decided; of a :class:`Compute` the events are recorded.

    Raises:
        StorageError: the ledger is too busy; nothing was recorded.
    """

    def attempt() -> Decision:
        seen, decision = ledger.last_seq(), outlook(row, ledger)
        match decision:
            case Done(events, reason, result):
                settled = OrderSettled(row.order_id, True, reason, dict(result))
                ledger.record(*events, settled, at_ms=clock(), expect_seq=seen)
            case Refuse(reason):
                ledger.record(OrderSettled(row.order_id, False, reason), at_ms=clock(), expect_seq=seen)
            case Compute(events=events):
                if events:
                    ledger.record(*events, at_ms=clock(), expect_seq=seen)
            case Wait():
                pass
        return decision

    return until_recorded("settle an order", attempt)


def outlook(row: OrderRow, ledger: Ledger) -> Decision:
    """What would be decided of an order now; nothing is recorded."""
    try:
        order = order_of(row.order)
    except OrderRefusedError as error:
        return Refuse(str(error))
    return decide(order, facts_for(order, ledger, row.seq))


def facts_for(order: Order, ledger: Ledger, placed_seq: int = 0) -> Facts:
    """What the ledger says that bears on an order.

    Args:
        placed_seq: of the event that placed it.
    """
    match order:
        case Revert(updates=names):
            named = {row.digest: row for name in names for row in ledger.updates_named(name)}
            return Facts(ledger.releases(), ledger.channels(), list(named.values()))
        case Revoke(contributor=name):
            keys = [row.contributor for row in ledger.contributors()]
            later = _later_keys(ledger, name)
            meant = {key for key in keys if key.startswith(name)} | set(later.values())
            sent = {key: ledger.updates_of(key) for key in sorted(meant)}
            return Facts(
                ledger.releases(), ledger.channels(), (), keys, ledger.bans(), later_keys=later, updates_of=sent
            )
        case Quarantine(contributor=name) | EndQuarantine(contributor=name):
            keys = [row.contributor for row in ledger.contributors()]
            later, held = _later_keys(ledger, name), ledger.quarantines()
            return Facts(
                ledger.releases(), ledger.channels(), (), keys, ledger.bans(), quarantines=held, later_keys=later
            )
        case LiftBan(contributor=name):
            later = _later_keys(ledger, name)
            return Facts(ledger.releases(), ledger.channels(), bans=ledger.bans(), later_keys=later)
        case Derive():
            run = ledger.run()
            name = run.name if run is not None else ""
            return Facts(ledger.releases(), ledger.channels(), run=name, derived=ledger.derived())
        case AcceptRegression() | WithdrawAcceptance():
            earlier = [row for row in ledger.orders(waiting=True) if row.seq < placed_seq]
            accepted = [row for row in earlier if row.order.get("kind") == AcceptRegression.kind]
            moves = ledger.events_about(TRUNK, [ChannelMoved.kind], 1)
            moved = bool(moves) and moves[-1].seq > placed_seq
            return Facts((), ledger.channels(), accepted=accepted, trunk_moved=moved)
        case _:
            return Facts(ledger.releases(), ledger.channels(), bans=ledger.bans())


def _later_keys(ledger: Ledger, name: str) -> dict[str, str]:
    """Keys that begin so and came in another's place -> the first key of their contributor."""
    return {row.key: row.contributor for row in ledger.keys.beginning(name)}
