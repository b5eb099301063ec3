"""Whether an update for several contributors may come in: every member's share is looked at as an update would be.

A team sends one update for all of its members, with a statement of each that its member has signed. All of the
leases are used up by it, in one transaction, and nothing of it comes in unless all of it does: a ban of one
member, a lease that is over or a number that does not add up refuses the whole, and every member can then
still send what it made alone.

What is not checked, because nobody here can: that the update is the average of what the members made. They trust
the one who sends it (docs/threat-model.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from barnraise.errors import BannedError, LeaseError, ReplayedMessageError, TeamError, WrongBaseError
from barnraise.protocol import UpdateEnvelope
from barnraise.team_messages import MEMBERS_MAX, TeamShare
from coordinator.ledger.rows import LeaseRow, UpdateRow
from coordinator.plausible import Counted

__all__ = ["InTeam", "MemberFacts", "count_together", "decide_in_team", "require_team"]


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """A member's share, and what is known of it.

    Attributes:
        contributor: whose key has signed the share. lease: the one that it names.
        banned: why the contributor is; None for all others.
    """

    share: TeamShare
    contributor: str
    lease: LeaseRow | None
    banned: str | None = None


@dataclass(frozen=True, slots=True)
class InTeam:
    """What is announced is in this update of a team already; the receipt is for that."""

    update: UpdateRow


def require_team(
    envelope: UpdateEnvelope, contributor: str, team: Sequence[MemberFacts], *, now_ms: int, max_clock_skew_ms: int
) -> None:
    """Check a team's envelope, beside what is checked of every one; nothing to check of an update of one.

    Args:
        contributor: who sends it.

    Raises:
        TeamError: too few or too many members, one of them twice, the sender missing, or numbers that do not add up.
        BannedError: a member is banned.
        LeaseError: a member's lease is not its own, over, or of another round.
        ReplayedMessageError: a member's lease has brought an update.
        WrongBaseError: a member trained from another base.
    """
    if not team:
        return
    _require_whole(envelope, contributor, team)
    for member in team:
        _require_member(envelope, member, now_ms, max_clock_skew_ms)


def decide_in_team(
    lease: LeaseRow | None, brought: UpdateRow | None, members: Sequence[str], contributor: str
) -> InTeam | None:
    """Whether what a contributor has made under a lease is in a team's update that came before; None when it is not.

    Args:
        lease: the one that it names. brought: the update by which that is used up. members: whose work is in that.
    """
    if lease is None or lease.contributor != contributor:
        return None
    if brought is None or brought.contributor == contributor or contributor not in members:
        return None
    return InTeam(brought)


def count_together(shares: Sequence[Counted]) -> Counted:
    """What counts of a team's update: all tokens of its members, and the steps of the one that took the most."""
    return Counted(sum(share.tokens for share in shares), max(share.steps for share in shares))


def _require_whole(envelope: UpdateEnvelope, contributor: str, team: Sequence[MemberFacts]) -> None:
    if not 2 <= len(team) <= MEMBERS_MAX:
        raise TeamError(f"the envelope names {len(team)} members; a team that sends together has 2 to {MEMBERS_MAX}")
    if len({member.contributor for member in team}) < len(team):
        raise TeamError("a contributor is in the team twice; every machine of a team needs a key of its own")
    own = next((member for member in team if member.contributor == contributor), None)
    if own is None or own.share.lease_id != envelope.lease_id:
        raise TeamError("the sender's own share must be among the team's, under the lease of the envelope")
    shares = [member.share for member in team]
    tokens, examples = sum(share.tokens for share in shares), sum(share.examples for share in shares)
    steps = max(share.steps for share in shares)
    if (envelope.tokens, envelope.examples, envelope.steps) != (tokens, examples, steps):
        raise TeamError(
            f"the envelope states {envelope.tokens:,} tokens, {envelope.examples:,} examples and {envelope.steps:,} "
            f"steps, its members' shares make {tokens:,}, {examples:,} and {steps:,}"
        )


def _require_member(envelope: UpdateEnvelope, member: MemberFacts, now_ms: int, max_clock_skew_ms: int) -> None:
    share, lease, who = member.share, member.lease, f"member {member.contributor[:8]}"
    if member.banned is not None:
        raise BannedError(f"{who} of the team may not contribute to this run: {member.banned}")
    if share.run != envelope.run or lease is None or lease.contributor != member.contributor:
        raise LeaseError(f"the share of {who} names no lease of that member in this run")
    if lease.round != envelope.round or share.round != envelope.round:
        raise LeaseError(f"the share of {who} is for round {share.round}, the envelope says {envelope.round}")
    if lease.update_digest is not None and lease.update_digest != envelope.update_digest:
        raise ReplayedMessageError(f"{who} of the team already brought {lease.update_digest[:15]}..")
    if now_ms >= lease.expires_at_ms:
        raise LeaseError(f"the lease of {who} expired {(now_ms - lease.expires_at_ms) / 1000:,.0f} s ago")
    if share.base_digest != lease.base_digest:
        raise WrongBaseError(f"{who} trained from {share.base_digest[:15]}.., its lease says {lease.base_version}")
    if not lease.issued_at_ms - max_clock_skew_ms <= share.at_ms <= now_ms + max_clock_skew_ms:
        raise TeamError(
            f"the share of {who} is dated before its lease, or ahead of the coordinator's clock; set that one's clock"
        )
