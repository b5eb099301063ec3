"""What operators did from a browser: who, when, what, from where. Orders themselves are in ``order_events``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["OPERATOR", "AuditEvent", "OperatorActed"]

OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class OperatorActed:
    """Somebody signed in, was refused, signed out, or gave an order.

    Attributes:
        session: how it is called in the log: the beginning of its digest; "" where there was none.
        what: ``signed-in``, ``refused``, ``signed-out`` or ``ordered``.
        place: where from, no closer than ``this machine``, ``a private network`` or ``elsewhere``.
        order_id: of the order that was placed; "" where none was.
    """

    kind: ClassVar[str] = "operator-acted"
    session: str
    what: str
    place: str
    order_id: str = ""

    @property
    def subject(self) -> str:
        return OPERATOR


AuditEvent = OperatorActed
