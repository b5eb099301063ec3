"""The audit log: every order, whoever gave it and wherever, and every session that began or ended.

Orders of commands on the coordinator's machine are in it as well; they have no session.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Address

from coordinator.ledger import Ledger, OrderRow
from coordinator.ledger.audit_events import OPERATOR, OperatorActed
from coordinator.ledger.events import RecordedEvent

__all__ = ["Entry", "audit_log", "entries", "place_of"]

SHOWN = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that was done.

    Attributes:
        who: a session's label, or ``command``. place: where from.
        outcome: ``done``, ``refused``, ``waiting``; "" of what is no order. reason: why that is so, in words.
    """

    at_ms: int
    who: str
    what: str
    place: str
    outcome: str = ""
    reason: str = ""


def audit_log(ledger: Ledger) -> tuple[Entry, ...]:
    """The newest 200 entries, newest first."""
    acts = ledger.events_about(OPERATOR, [OperatorActed.kind], SHOWN)
    return entries(acts, ledger.orders()[-SHOWN:])[:SHOWN]


def entries(acts: Iterable[RecordedEvent], orders: Iterable[OrderRow]) -> tuple[Entry, ...]:
    """Acts and orders as one list, newest first; an order from a session appears once."""
    given, begun, found = {}, [], []
    for recorded in acts:
        event = recorded.event
        assert isinstance(event, OperatorActed)
        if event.order_id:
            given[event.order_id] = event
        else:
            begun.append(Entry(recorded.at_ms, event.session, event.what.replace("-", " "), event.place))
    for row in orders:
        act = given.get(row.order_id)
        who, place = (act.session, act.place) if act is not None else ("command", "this machine")
        outcome = "waiting" if row.settled_at_ms is None else "done" if row.done else "refused"
        found.append(Entry(row.placed_at_ms, who, _in_words(row.order), place, outcome, row.reason or ""))
    return tuple(sorted([*begun, *found], key=lambda entry: entry.at_ms)[::-1])


def place_of(client: Address | None) -> str:
    """Where a request comes from, no closer than the audit log needs."""
    try:
        address = ipaddress.ip_address(client.host if client is not None else "")
    except ValueError:
        return "elsewhere"
    if address.is_loopback:
        return "this machine"
    return "a private network" if address.is_private else "elsewhere"


def _in_words(order: Mapping[str, Any]) -> str:
    """An order with what it is about."""
    said = [str(order.get("kind", "order")).replace("-", " ")]
    for key in ("channel", "version", "contributor", "name", "what"):
        if order.get(key):
            said.append(str(order[key])[:80])
    said += [str(update)[:80] for update in order.get("updates", ())]
    said += [str(test)[:80] for test in order.get("tests", ())]
    if order.get("kind") == "yank" and order.get("reason") is None:
        said.insert(0, "undo")
    reason = order.get("reason")
    return " ".join(said) + (f": {str(reason)[:400]}" if reason else "")
