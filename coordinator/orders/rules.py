"""What an order does, or why it is refused: one pure decision on what the ledger says.

decide(order, facts) -> Done      these events carry it out
                        Compute   updates must be left out and the rest merged again
                        Wait      it waits for what a round leads to
                        Refuse    nothing is done, and why
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from barnraise.narrate import short
from barnraise.versions import parse_version
from coordinator.ledger import TRUNK, BanRow, DerivedRow, OrderRow, QuarantineRow, ReleaseRow, UpdateRow
from coordinator.ledger.events import ChannelMoved, Event
from coordinator.ledger.order_events import (
    BanLifted,
    ContributorBanned,
    ContributorQuarantined,
    ModelDerived,
    OrderSettled,
    QuarantineEnded,
    ReleasePromoted,
    ReleaseWithdrawn,
    ReleaseYanked,
)
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

__all__ = [
    "STABLE",
    "Compute",
    "Decision",
    "Done",
    "Facts",
    "Refuse",
    "Wait",
    "decide",
    "moves_trunk",
    "trunk_of",
]

STABLE = "stable"
REASON_MAX = 1000
PREFIX_MIN = 6
"""Fewer hex digits name nobody: they are too easily somebody else's."""


@dataclass(frozen=True)
class Facts:
    """What the ledger says that bears on an order.

    Attributes:
        releases: all, oldest first. channels: channel -> version.
        updates: those that a revert names by how they begin, or all of a revoked key's.
        contributors: first keys of all whom the ledger knows. bans, quarantines: of those, the ones that are.
        later_keys: key that came in another's place -> the first key of its contributor.
        run: name of the trunk. derived: all that is listed of derived models.
        accepted: regressions that were accepted before this order, and wait for their candidate.
        trunk_moved: the trunk's channel was moved after this order was placed.
    """

    releases: Sequence[ReleaseRow]
    channels: Mapping[str, str]
    updates: Sequence[UpdateRow] = ()
    contributors: Sequence[str] = ()
    bans: Mapping[str, BanRow] = field(default_factory=dict)
    quarantines: Mapping[str, QuarantineRow] = field(default_factory=dict)
    later_keys: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    derived: Sequence[DerivedRow] = ()
    accepted: Sequence[OrderRow] = ()
    trunk_moved: bool = False

    @property
    def by_version(self) -> dict[str, ReleaseRow]:
        return {release.version: release for release in self.releases}


@dataclass(frozen=True, slots=True)
class Done:
    """Record ``events`` and the order is carried out. ``result`` is for programs."""

    events: tuple[Event, ...]
    reason: str
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compute:
    """Record ``events`` now; then make a release without ``updates``, which are merged and in the trunk.

    Attributes:
        reason: why they are left out. accepts: test -> why its getting worse is accepted.
    """

    updates: tuple[str, ...]
    reason: str
    accepts: Mapping[str, str]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is done yet: the order waits for what a round leads to."""

    reason: str


Decision = Done | Compute | Refuse | Wait


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
        case Revert():
            return _revert(order, facts)
        case Revoke():
            return _revoke(order, facts)
        case LiftBan():
            return _lift(order, facts)
        case Quarantine():
            return _quarantine(order, facts)
        case EndQuarantine():
            return _end_quarantine(order, facts)
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


def trunk_of(releases: Sequence[ReleaseRow], version: str | None) -> list[ReleaseRow]:
    """A release and its ancestors, oldest first; none for None."""
    by_version = {release.version: release for release in releases}
    chain: list[ReleaseRow] = []
    while version is not None:
        chain.append(by_version[version])
        version = chain[-1].parent
    return chain[::-1]


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


def _revert(order: Revert, facts: Facts) -> Decision:
    chosen = []
    for name in order.updates:
        found = [row for row in facts.updates if _begins(row.digest, name)]
        if len(found) != 1 or len(name.removeprefix("b3:")) < PREFIX_MIN:
            return Refuse(_not_one("update", name, [row.digest for row in found]))
        chosen.append(found[0])
    why_not = [why for row in chosen if (why := _not_in_trunk(row, facts))]
    if why_not:
        return Refuse("; ".join(why_not))
    return Compute(tuple(sorted({row.digest for row in chosen})), order.reason or "ordered", dict(order.accepts))


def _revoke(order: Revoke, facts: Facts) -> Decision:
    found = _whose(order.contributor, facts.contributors, facts)
    if len(found) != 1 or len(order.contributor) < PREFIX_MIN:
        return Refuse(_not_one("contributor", order.contributor, found))
    (key,) = found
    banned = facts.bans.get(key)
    ban = () if banned is not None else (ContributorBanned(key, order.since_ms, order.reason),)
    sent = [row for row in facts.updates if row.contributor == key and row.received_at_ms >= order.since_ms]
    in_trunk = tuple(sorted(row.digest for row in sent if not _not_in_trunk(row, facts)))
    reason = f"{short(key)} is banned: {order.reason}"
    if in_trunk:
        return Compute(in_trunk, reason, dict(order.accepts), ban)
    told = f"{reason}; the trunk has nothing that it sent since then"
    return Done(ban, told, {"contributor": key, "updates": []})


def _lift(order: LiftBan, facts: Facts) -> Decision:
    found = _whose(order.contributor, facts.bans, facts)
    if len(found) != 1 or len(order.contributor) < PREFIX_MIN:
        return Refuse(_not_one("banned contributor", order.contributor, found))
    reason = f"{short(found[0])} may contribute again; what was reverted stays reverted"
    return Done((BanLifted(found[0], order.reason),), reason, {"contributor": found[0]})


def _quarantine(order: Quarantine, facts: Facts) -> Decision:
    found = _whose(order.contributor, facts.contributors, facts)
    if len(found) != 1 or len(order.contributor) < PREFIX_MIN:
        return Refuse(_not_one("contributor", order.contributor, found))
    (key,) = found
    if (standing := facts.quarantines.get(key)) is not None:
        return Refuse(f"{short(key)} is in quarantine already: {standing.reason}")
    if key in facts.bans:
        return Refuse(f"{short(key)} is banned, so nothing comes in that could be measured; first lift the ban")
    reason = f"{short(key)} is in quarantine: {order.reason}; what it sends is measured and not merged"
    return Done((ContributorQuarantined(key, order.reason),), reason, {"contributor": key})


def _end_quarantine(order: EndQuarantine, facts: Facts) -> Decision:
    found = _whose(order.contributor, facts.quarantines, facts)
    if len(found) != 1 or len(order.contributor) < PREFIX_MIN:
        return Refuse(_not_one("contributor in quarantine", order.contributor, found))
    reason = f"{short(found[0])} is in quarantine no more; what it sends from now on is merged"
    return Done((QuarantineEnded(found[0], order.reason),), reason, {"contributor": found[0]})


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
    names, at = _several(sorted(order.tests)), facts.channels.get(TRUNK)
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
            f"order {row.order_id} accepts {_several(sorted(row.order['tests']))} already, and stands; one is enough: "
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
    names = _several(name for row in facts.accepted for name in sorted(row.order["tests"]))
    events = tuple(OrderSettled(row.order_id, False, why) for row in facts.accepted)
    return Done(events, f"{names} may get worse no more", {"orders": [row.order_id for row in facts.accepted]})


def _whose(name: str, contributors: Iterable[str], facts: Facts) -> list[str]:
    """Those who have or had a key that begins so, by their first keys."""
    known = set(contributors)
    later = {first for key, first in facts.later_keys.items() if key.startswith(name) and first in known}
    return sorted({key for key in known if key.startswith(name)} | later)


def _begins(digest: str, name: str) -> bool:
    return digest.removeprefix("b3:").startswith(name.removeprefix("b3:"))


def _not_one(what: str, name: str, found: Sequence[str]) -> str:
    if len(name.removeprefix("b3:")) < PREFIX_MIN:
        return f"{name!a} is too short to name one {what}; give at least {PREFIX_MIN} hex digits"
    if not found:
        return f"no {what} of this run begins with {name[:80]!a}"
    return f"{len(found)} begin with {name!a}: {_several(short(one) for one in found)}; give more digits"


def _not_in_trunk(row: UpdateRow, facts: Facts) -> str | None:
    """Why an update cannot be taken out of the trunk; None when it can."""
    name = f"update {short(row.digest)}"
    if row.state not in {"merged", "reverted"}:
        return f"{name} is {row.state}, so it is in no release"
    trunk = {release.version for release in trunk_of(facts.releases, facts.channels.get(TRUNK))}
    if row.reverted_in in trunk:  # in another it was reverted for a trunk that was left since
        return f"{name} was reverted in {row.reverted_in} already"
    if row.version not in trunk:
        return f"{name} was merged in {row.version}, which the trunk does not go on from"
    return None


def _unknown(version: str) -> Refuse:
    return Refuse(f"there is no release {version[:32]!a}; see: barnraise ls")


def _several(names: Iterable[str], most: int = 5) -> str:
    listed = list(names)
    return ", ".join([*listed[:most], *(["..."] if len(listed) > most else [])])
