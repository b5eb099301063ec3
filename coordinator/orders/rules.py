"""What an order does, or why it is refused: one pure decision on what the ledger says.

decide(order, facts) -> Done      these events carry it out
                        Compute   updates must be left out and the rest merged again
                        Wait      it waits for what a round leads to
                        Refuse    nothing is done, and why
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from barnraise.versions import parse_version
from coordinator.ledger import TRUNK
from coordinator.ledger.events import ChannelMoved, Event
from coordinator.ledger.order_events import (
    ModelDerived,
    OrderSettled,
    ReleasePromoted,
    ReleaseWithdrawn,
    ReleaseYanked,
)
from coordinator.orders.contributions import decide_contributions
from coordinator.orders.decision import Decision, Done, Facts, Refuse, Wait, several
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
    as_json,
)

__all__ = ["STABLE", "decide", "moves_trunk"]

STABLE = "stable"
REASON_MAX = 1000


def decide(order: Order, facts: Facts) -> Decision:
    """What to do about an order."""
    reason = getattr(order, "reason", None) or ""
    if len(reason) > REASON_MAX:
        return Refuse(f"the reason has {len(reason):,} characters, at most {REASON_MAX:,} are kept; say it shorter")
    match order:
        case MoveChannel():
            return _move(order, facts)
        case Yank():
            return _yank(order, facts)
        case Promoted():
            return _promote(order, facts)
        case Withdrawn():
            return _withdraw(order, facts)
        case PublishSigned(what):
            return Done((), f"published what maintainers signed: {what}")
        case Revert() | Revoke() | LiftBan() | Quarantine() | EndQuarantine():
            return decide_contributions(order, facts)
        case Derive():
            return _derive(order, facts)
        case AcceptRegression():
            return _accept(order, facts)
        case WithdrawAcceptance():
            return _withdraw_acceptance(order, facts)
        case _ as never:
            assert_never(never)


def moves_trunk(order: Mapping[str, Any]) -> bool:
    """Whether an order, as the ledger has it, says where the trunk goes on: it waits while that is being computed."""
    return (order.get("kind"), order.get("channel")) == (MoveChannel.kind, TRUNK)


def _move(order: MoveChannel, facts: Facts) -> Decision:
    at = facts.channels.get(order.channel)
    if at is None:
        known = ", ".join(sorted(facts.channels)) or "none"
        why = "no release was promoted yet" if order.channel == STABLE else f"channels: {known}"
        return Refuse(f"there is no channel {order.channel}; {why}")
    release = facts.by_version.get(order.version)
    if release is None:
        return _unknown(order.version)
    if at == order.version:
        return Done((), f"channel {order.channel} is at {at} already", {"channel": order.channel, "version": at})
    if release.yanked is not None:
        return Refuse(f"{order.version} was yanked: {release.yanked}; choose another, or first: barnraise yank --undo")
    if order.channel == STABLE and release.promoted_at_ms is None:
        promoted = ", ".join(row.version for row in facts.releases if row.promoted_at_ms is not None)
        return Refuse(f"{order.version} was never promoted to stable; promoted are {promoted}")
    back = parse_version(order.version) < parse_version(at)
    reason = f"channel {order.channel} moves {'back' if back else 'forward'} from {at} to {order.version}"
    reason += f": {order.reason}" if order.reason else ""
    if order.channel == TRUNK:
        reason += "; the next round goes on from there"
    moved = ChannelMoved(order.channel, at, order.version, order.reason or "ordered")
    return Done((moved,), reason, {"channel": order.channel, "from": at, "version": order.version})


def _yank(order: Yank, facts: Facts) -> Decision:
    release = facts.by_version.get(order.version)
    result = {"version": order.version, "yanked": order.reason}
    if release is None:
        return _unknown(order.version)
    if order.reason is None:
        if release.yanked is None:
            return Done((), f"{order.version} is not yanked", result)
        return Done((ReleaseYanked(order.version, None),), f"{order.version} is yanked no more", result)
    pointing = sorted(channel for channel, version in facts.channels.items() if version == order.version)
    if pointing:
        return Refuse(
            f"channel {pointing[0]} is at {order.version}; move it first: barnraise rollback {pointing[0]} VERSION"
        )
    again = " (it was: " + release.yanked + ")" if release.yanked is not None else ""
    reason = f"{order.version} is yanked: {order.reason}{again}; by exact number it can still be had"
    return Done((ReleaseYanked(order.version, order.reason),), reason, result)


def _promote(order: Promoted, facts: Facts) -> Decision:
    release = facts.by_version.get(order.version)
    if release is None:
        return _unknown(order.version)
    if release.yanked is not None:
        return Refuse(f"{order.version} was yanked: {release.yanked}; promote another")
    if release.promoted_at_ms is not None:
        return Done((), f"{order.version} was promoted before", {"version": order.version})
    at = facts.channels.get(STABLE)
    events: list[Event] = [ReleasePromoted(order.version)]
    if at is None or parse_version(at) < parse_version(order.version):
        events.append(ChannelMoved(STABLE, at, order.version, "promoted"))
        where = f"channel {STABLE} is at it"
    else:
        where = f"channel {STABLE} stays at {at}"
    return Done(tuple(events), f"{order.version} is promoted; {where}", {"version": order.version})


def _withdraw(order: Withdrawn, facts: Facts) -> Decision:
    release = facts.by_version.get(order.version)
    if release is None:
        return _unknown(order.version)
    if release.promoted_at_ms is None:
        return Done((), f"{order.version} is not promoted", {"version": order.version})
    if facts.channels.get(STABLE) == order.version:
        return Refuse(f"channel {STABLE} is at {order.version}; move it first: barnraise rollback {STABLE} VERSION")
    return Done((ReleaseWithdrawn(order.version),), f"{order.version} is promoted no more", {"version": order.version})


def _derive(order: Derive, facts: Facts) -> Decision:
    what, result = f"{order.name} {order.version}", {"name": order.name, "version": order.version}
    listed = {(row.name, row.version): row for row in facts.derived}
    same = listed.get((order.name, order.version))
    if same is not None and same.manifest_digest == order.manifest_digest:
        return Done((), f"{what} is listed already", result)
    if order.name == facts.run:
        return Refuse(f"{order.name} is the trunk's own name; import it under another")
    newest = max((parse_version(row.version) for row in facts.derived if row.name == order.name), default=None)
    if newest is not None and parse_version(order.version) <= newest:
        return Refuse(f"{order.name} {newest} was listed meanwhile; import it again")
    releases = {(facts.run, row.version): row.model_digest for row in facts.releases}
    models = releases | {key: row.model_digest for key, row in listed.items()}
    if models.get((order.parent_name, order.parent_version)) != order.parent_digest:
        return Refuse(
            f"its parent {order.parent_name} {order.parent_version} is not listed as that model; import it anew"
        )
    event = ModelDerived(
        name=order.name,
        version=order.version,
        model_digest=order.model_digest,
        manifest_digest=order.manifest_digest,
        manifest_bytes=order.manifest_bytes,
        parent_name=order.parent_name,
        parent_version=order.parent_version,
        reason=order.reason,
    )
    return Done((event,), f"{what} is listed: {order.reason}", result)


def _accept(order: AcceptRegression, facts: Facts) -> Decision:
    names, at = several(sorted(order.tests)), facts.channels.get(TRUNK)
    if not order.tests or not order.reason:
        return Refuse("a regression is accepted by the name of a test and with a reason; give both")
    if facts.trunk_moved or at != order.base:
        gone_on = f"the trunk goes on from {at} since" if at != order.base else "the trunk has moved since"
        return Refuse(
            f"not used, and over: {names} was accepted to get worse than in {order.base}, and {gone_on}; if it "
            "still fails, see how it fails now and accept that"
        )
    for row in facts.accepted:
        if row.order == as_json(order):
            return Done((), f"order {row.order_id} accepts exactly this already, and stands")
        return Refuse(
            f"order {row.order_id} accepts {several(sorted(row.order['tests']))} already, and stands; one is enough: "
            "use it, or first: barnraise release --undo"
        )
    words = [f"{name} may be worse than in {at} by {row['at_most']:.4g}" for name, row in sorted(order.tests.items())]
    return Wait(
        f"{', '.join(words)}, as seen in round {order.round}: the next candidate that fails nothing else is released "
        "as a major version; it is over with the next release in any case"
    )


def _withdraw_acceptance(order: WithdrawAcceptance, facts: Facts) -> Decision:
    if not facts.accepted:
        return Refuse("no accepted regression waits for a candidate")
    why = f"taken back: {order.reason}" if order.reason else "taken back"
    names = several(name for row in facts.accepted for name in sorted(row.order["tests"]))
    events = tuple(OrderSettled(row.order_id, False, why) for row in facts.accepted)
    return Done(events, f"{names} may get worse no more", {"orders": [row.order_id for row in facts.accepted]})


def _unknown(version: str) -> Refuse:
    return Refuse(f"there is no release {version[:32]!a}; see: barnraise ls")
