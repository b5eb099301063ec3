"""Orders: how an operator's command reaches a coordinator that is running, and what it may do.

``kinds`` is what can be ordered, ``rules`` decides on it, purely, of what is about contributions with
``contributions``; ``decision`` is what goes into a decision and comes out of it. ``settling`` carries
out what needs no computing, ``placing`` is what a command calls, ``accepting`` is what may be released
though tests fail. What needs computing is done by the conductor (``coordinator.conductor.reverting``).
Nothing here knows torch or Ray.
"""

from coordinator.orders.accepting import accept
from coordinator.orders.kinds import (
    AcceptRegression,
    Derive,
    EndQuarantine,
    LiftBan,
    MoveChannel,
    Order,
    Promoted,
    PublishSigned,
    Quarantine,
    Revert,
    Revoke,
    WithdrawAcceptance,
    Withdrawn,
    Yank,
)
from coordinator.orders.placing import Settled, place

__all__ = [
    "AcceptRegression",
    "Derive",
    "EndQuarantine",
    "LiftBan",
    "MoveChannel",
    "Order",
    "Promoted",
    "PublishSigned",
    "Quarantine",
    "Revert",
    "Revoke",
    "Settled",
    "WithdrawAcceptance",
    "Withdrawn",
    "Yank",
    "accept",
    "place",
]
