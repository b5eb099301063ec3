"""Orders about what contributors send: updates are reverted, senders banned, put into quarantine or let in again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from barnraise.narrate import short
from coordinator.ledger import TRUNK, ReleaseRow, UpdateRow
from coordinator.ledger.order_events import BanLifted, ContributorBanned, ContributorQuarantined, QuarantineEnded
from coordinator.orders.decision import Compute, Decision, Done, Facts, Refuse, several
from coordinator.orders.kinds import EndQuarantine, LiftBan, Quarantine, Revert, Revoke

__all__ = ["AboutContributions", "decide_contributions", "trunk_of"]

PREFIX_MIN = 6
"""Fewer hex digits name nobody: they are too easily somebody else's."""

AboutContributions = Revert | Revoke | LiftBan | Quarantine | EndQuarantine


def decide_contributions(order: AboutContributions, facts: Facts) -> Decision:
    """What to do about such an order."""
    if isinstance(order, Revert):
        return _revert(order, facts)
    key = _whom(order, facts)
    if isinstance(key, Refuse):
        return key
    match order:
        case Revoke():
            return _revoke(order, key, facts)
        case LiftBan():
            reason = f"{short(key)} may contribute again; what was reverted stays reverted"
            return Done((BanLifted(key, order.reason),), reason, {"contributor": key})
        case Quarantine():
            return _quarantine(order, key, facts)
        case EndQuarantine():
            reason = f"{short(key)} is in quarantine no more; what it sends from now on is merged"
            return Done((QuarantineEnded(key, order.reason),), reason, {"contributor": key})
        case _ as never:
            assert_never(never)


def _revert(order: Revert, facts: Facts) -> Decision:
    chosen = []
    for name in order.updates:
        found = [row for row in facts.updates if _begins(row.digest, name)]
        if len(found) != 1 or len(name.removeprefix("b3:")) < PREFIX_MIN:
            return Refuse(_not_one("update", name, [row.digest for row in found]))
        chosen.append(found[0])
    why_not = [why for row in chosen if (why := _why_not(row, facts))]
    if why_not:
        return Refuse("; ".join(why_not))
    return Compute(tuple(sorted({row.digest for row in chosen})), order.reason or "ordered", dict(order.accepts))


def _revoke(order: Revoke, key: str, facts: Facts) -> Decision:
    banned = facts.bans.get(key)
    ban = () if banned is not None else (ContributorBanned(key, order.since_ms, order.reason),)
    sent = [row for row in facts.updates_of.get(key, ()) if row.received_at_ms >= order.since_ms]
    in_trunk = tuple(sorted(row.digest for row in sent if not _why_not(row, facts)))
    reason = f"{short(key)} is banned: {order.reason}"
    if in_trunk:
        return Compute(in_trunk, reason, dict(order.accepts), ban)
    told = f"{reason}; the trunk has nothing that it sent since then"
    return Done(ban, told, {"contributor": key, "updates": []})


def _quarantine(order: Quarantine, key: str, facts: Facts) -> Decision:
    if (standing := facts.quarantines.get(key)) is not None:
        return Refuse(f"{short(key)} is in quarantine already: {standing.reason}")
    if key in facts.bans:
        return Refuse(f"{short(key)} is banned, so nothing comes in that could be measured; first lift the ban")
    reason = f"{short(key)} is in quarantine: {order.reason}; what it sends is measured and not merged"
    return Done((ContributorQuarantined(key, order.reason),), reason, {"contributor": key})


def trunk_of(releases: Sequence[ReleaseRow], version: str | None) -> list[ReleaseRow]:
    """A release and its ancestors, oldest first; none for None."""
    by_version = {release.version: release for release in releases}
    chain: list[ReleaseRow] = []
    while version is not None:
        chain.append(by_version[version])
        version = chain[-1].parent
    return chain[::-1]


def _whom(order: Revoke | LiftBan | Quarantine | EndQuarantine, facts: Facts) -> str | Refuse:
    """The first key of the only one whom the order can mean: who has or had a key that begins so."""
    match order:
        case Revoke() | Quarantine():
            what, known = "contributor", set(facts.contributors)
        case LiftBan():
            what, known = "banned contributor", set(facts.bans)
        case EndQuarantine():
            what, known = "contributor in quarantine", set(facts.quarantines)
        case _ as never:
            assert_never(never)
    name = order.contributor
    later = {first for key, first in facts.later_keys.items() if key.startswith(name)}
    found = sorted({key for key in known if key.startswith(name)} | (later & known))
    return found[0] if len(found) == 1 and len(name) >= PREFIX_MIN else Refuse(_not_one(what, name, found))


def _begins(digest: str, name: str) -> bool:
    return digest.removeprefix("b3:").startswith(name.removeprefix("b3:"))


def _not_one(what: str, name: str, found: Sequence[str]) -> str:
    if len(name.removeprefix("b3:")) < PREFIX_MIN:
        return f"{name!a} is too short to name one {what}; give at least {PREFIX_MIN} hex digits"
    if not found:
        return f"no {what} of this run begins with {name[:80]!a}"
    return f"{len(found)} begin with {name!a}: {several(short(one) for one in found)}; give more digits"


def _why_not(row: UpdateRow, facts: Facts) -> str | None:
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
