"""Orders: how an operator's command reaches a coordinator that is running, and what it may do.

``kinds`` is what can be ordered, ``rules`` decides on it, purely, ``settling`` carries out what
needs no computing, ``placing`` is what a command calls. What needs computing is done by the
conductor (``coordinator.conductor.reverting``). Nothing here knows torch or Ray.
"""

from coordinator.orders.kinds import (
    Derive,
    LiftBan,
    MoveChannel,
    Order,
    Promoted,
    PublishSigned,
    Revert,
    Revoke,
    Withdrawn,
    Yank,
)
from coordinator.orders.placing import Settled, place

__all__ = [
    "Derive",
    "LiftBan",
    "MoveChannel",
    "Order",
    "Promoted",
    "PublishSigned",
    "Revert",
    "Revoke",
    "Settled",
    "Withdrawn",
    "Yank",
    "place",
]
