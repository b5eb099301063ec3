"""Give a run an order, and wait for what becomes of it; what a command on the coordinator's machine calls.

With a coordinator running, the order is appended to the ledger, and the conductor takes it up
on its next turn. Without one, whoever gets the folder's lock settles what needs no computing;
the rest waits for the next ``barnraise serve``. An order that was placed stands, whatever
becomes of the command.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from barnraise.clock import now_ms
from barnraise.errors import FolderLockedError, OrderRefusedError
from barnraise.releases.repository import Repository
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from coordinator.ledger import Ledger, OrderRow
from coordinator.ledger.order_events import OrderPlaced
from coordinator.listing import index_of
from coordinator.orders.decision import Compute, Wait
from coordinator.orders.kinds import Order, as_json
from coordinator.orders.settling import outlook, settle

__all__ = ["Settled", "append", "pause", "place"]

POLL_S = 0.1


def pause() -> None:
    """Let a coordinator work for a moment."""
    time.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an order.

    Attributes:
        waits: not settled: it must compute, and no coordinator is running; or it stands until a round leads to it.
        reason: one sentence. result: numbers behind it, JSON values.
    """

    order_id: str
    waits: bool
    reason: str
    result: Mapping[str, Any] = field(default_factory=dict)


def append(ledger: Ledger, order: Order, at_ms: int) -> str:
    """Record that something is ordered, and return the order's name."""
    order_id = secrets.token_hex(8)
    ledger.record(OrderPlaced(order_id, as_json(order)), at_ms=at_ms)
    return order_id


def place(
    folder: RunFolder,
    order: Order,
    *,
    tell: Callable[[str], None] = lambda _: None,
    wait: Callable[[], None] = pause,
) -> Settled:
    """Place an order and wait until it is settled, or until only a coordinator could go on.

    Args:
        tell: gets a sentence when this begins to wait for a coordinator.
        wait: called between two looks at what the coordinator has done.

    Raises:
        OrderRefusedError: refused, and why; nothing was changed.
        NotARunFolderError, StorageError: the folder holds no run, or its ledger cannot be used.
    """
    ledger = Ledger.open(folder.require().ledger)
    try:
        order_id = append(ledger, order, now_ms())
        waiting_told = False
        while True:
            if (settled := _settled(ledger, order_id)) is not None:
                return settled
            try:
                with folder.lock("coordinator"):
                    if (settled := _settled(ledger, order_id)) is None:
                        return _settle_all(folder, ledger, order_id)
            except FolderLockedError:
                if (waits := _waits(ledger, order_id)) is not None:
                    return waits
                if not waiting_told:
                    tell(f"order {order_id} is placed; the coordinator takes it up")
                waiting_told = True
                wait()
    finally:
        ledger.close()


def _settled(ledger: Ledger, order_id: str) -> Settled | None:
    row = ledger.order(order_id)
    assert row is not None, order_id
    return None if row.settled_at_ms is None else _outcome(row)


def _waits(ledger: Ledger, order_id: str) -> Settled | None:
    """What an order is waiting for that is for no coordinator to do at once; None of all others."""
    row = ledger.order(order_id)
    assert row is not None, order_id
    decision = outlook(row, ledger) if row.settled_at_ms is None else None
    return Settled(order_id, True, decision.reason) if isinstance(decision, Wait) else None


def _outcome(row: OrderRow) -> Settled:
    if not row.done:
        raise OrderRefusedError(row.reason or "")
    return Settled(row.order_id, False, row.reason or "", row.result or {})


def _settle_all(folder: RunFolder, ledger: Ledger, order_id: str) -> Settled:
    """Carry out, oldest first, what waits and needs no computing; the caller holds the folder's lock."""
    done = [settle(ledger, row, now_ms) for row in ledger.orders(waiting=True)]
    if any(not isinstance(decision, Compute | Wait) for decision in done):
        _publish(folder, ledger)
    settled = _settled(ledger, order_id) or _waits(ledger, order_id)
    if settled is not None:
        return settled
    reason = f"no coordinator is running; this takes effect at the next: barnraise serve {folder.root}"
    return Settled(order_id, True, reason)


def _publish(folder: RunFolder, ledger: Ledger) -> None:
    """Publish the index anew from the ledger, as a coordinator does when it starts; nothing without a release."""
    if ledger.newest_release() is None:
        return
    Repository(folder).publish(index_of(ledger, BlobStore(folder.public)), now_ms())
