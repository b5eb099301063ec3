"""From the fields of a form to an order, and what that would do. Nothing here records anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from barnraise.clock import millis_of
from barnraise.errors import UsageError
from barnraise.suite import SuiteConfig
from coordinator.ledger import Ledger
from coordinator.orders.accepting import accept
from coordinator.orders.decision import Compute, Done, Refuse, Wait
from coordinator.orders.kinds import (
    EndQuarantine,
    LiftBan,
    MoveChannel,
    Order,
    Quarantine,
    Revert,
    Revoke,
    WithdrawAcceptance,
    Yank,
)
from coordinator.orders.rules import decide
from coordinator.orders.settling import facts_for

__all__ = ["ACTIONS", "Action", "Outlook", "order_from", "outlook_of"]

TEXT_MAX = 1000
ACCEPT = "accept-regression"


@dataclass(frozen=True, slots=True)
class Action:
    """Something an operator can do with a form.

    Attributes:
        fields: names of what is asked for, each with what it is called. says: what it does, in one sentence.
        danger: it takes something away from others, so its button is of another colour.
    """

    name: str
    title: str
    says: str
    fields: tuple[tuple[str, str], ...]
    danger: bool = False


ACTIONS = (
    Action(
        "rollback",
        "Move a channel",
        "Whoever follows the channel gets that release at the next pull.",
        (("channel", "Channel"), ("version", "Release")),
    ),
    Action(
        "yank",
        "Yank a release",
        "No range chooses it any more; by its number it can still be had.",
        (("version", "Release"),),
        True,
    ),
    Action("unyank", "Take a yank back", "Ranges choose it again.", (("version", "Release"),)),
    Action(
        "revert",
        "Revert an update",
        "A new release as if it had never been merged; the tests decide.",
        (("update", "Update, or how it begins"),),
        True,
    ),
    Action(
        "revoke",
        "Ban a contributor",
        "Its key gets no work any more, and what it sent is reverted.",
        (("contributor", "Key, or how it begins"), ("since", "Since (YYYY-MM-DD, empty: from the beginning)")),
        True,
    ),
    Action(
        "quarantine",
        "Put into quarantine",
        "What it sends is measured and not merged, until you let it out.",
        (("contributor", "Key, or how it begins"),),
        True,
    ),
    Action(
        "end-quarantine",
        "Let out of quarantine",
        "What it sends from then on is merged.",
        (("contributor", "Key, or how it begins"),),
    ),
    Action(
        "lift-ban", "Lift a ban", "The key may contribute again; what was reverted stays so.", (("contributor", "Key"),)
    ),
    Action(
        ACCEPT,
        "Accept a regression",
        "The newest candidate that failed this test and no other becomes a major version.",
        (("test", "Test"),),
        True,
    ),
    Action(
        "withdraw-acceptance",
        "Take an acceptance back",
        "A regression that was accepted and not used yet fails again.",
        (),
    ),
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an order would do now.

    Attributes:
        refused: nothing, and why. says: one sentence.
        computes: updates are left out and the rest merged again, which takes the time of a round.
    """

    says: str
    refused: bool = False
    computes: bool = False


def order_from(name: str, fields: Mapping[str, str], ledger: Ledger, suite: SuiteConfig) -> Order:
    """The order that a form asks for.

    Args:
        ledger, suite: what an acceptance of a regression is about; nothing else is read from them.

    Raises:
        UsageError: no such action, a field is empty or too long, or there is no reason.
        OrderRefusedError: there is no regression to accept.
    """
    action = next((one for one in ACTIONS if one.name == name), None)
    if action is None:
        raise UsageError(f"there is no action {name[:40]!a}")
    asked = {key: " ".join(fields.get(key, "").split()) for key in (*(key for key, _ in action.fields), "reason")}
    for key, value in asked.items():
        if len(value) > TEXT_MAX:
            raise UsageError(f"{key} has {len(value):,} letters, at most {TEXT_MAX:,} are kept")
        if not value and key != "since":
            raise UsageError(f"{key} is missing; whoever looks at this later wants to know it")
    if name == ACCEPT:
        return accept(ledger, suite, [asked["test"]], asked["reason"])
    return _order(name, asked)


def _order(name: str, asked: Mapping[str, str]) -> Order:
    reason = asked["reason"]
    match name:
        case "rollback":
            return MoveChannel(asked["channel"], asked["version"], reason)
        case "yank":
            return Yank(asked["version"], reason)
        case "unyank":
            return Yank(asked["version"], None)
        case "revert":
            return Revert((asked["update"],), reason)
        case "revoke":
            return Revoke(asked["contributor"], millis_of(asked["since"]) if asked["since"] else 0, reason)
        case "quarantine":
            return Quarantine(asked["contributor"], reason)
        case "end-quarantine":
            return EndQuarantine(asked["contributor"], reason)
        case "lift-ban":
            return LiftBan(asked["contributor"], reason)
        case _:
            return WithdrawAcceptance(reason)


def outlook_of(order: Order, ledger: Ledger) -> Outlook:
    """What would be decided of an order now."""
    match decide(order, facts_for(order, ledger, ledger.last_seq() + 1)):
        case Refuse(reason):
            return Outlook(reason, refused=True)
        case Done(reason=reason):
            return Outlook(reason)
        case Compute(reason=reason):
            return Outlook(reason, computes=True)
        case Wait(reason):
            return Outlook(reason)
