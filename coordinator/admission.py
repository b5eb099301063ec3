"""Who may train, and which update may come in: two pure decisions about what strangers ask.

Both get every fact and the clock as arguments and touch nothing. ``decide_lease`` grants,
repeats or postpones; ``decide_update`` admits, or finds the update already received. What
is not acceptable is raised as an error whose text is the reason.

A lease never outlives its round's collecting deadline, so whoever keeps to the lease is in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from barnraise.config import RunConfig
from barnraise.errors import (
    BannedError,
    ClockSkewError,
    LeaseError,
    OversizedUpdateError,
    QuotaExceededError,
    ReplayedMessageError,
    WrongBaseError,
)
from barnraise.protocol import LeaseRelease, LeaseReleaseAnswer, LeaseRequest, UpdateEnvelope, Wait
from coordinator.ledger.events import LeaseGranted
from coordinator.ledger.rows import LeaseRow, RoundRow, UpdateRow
from coordinator.round import FINAL
from coordinator.team_admission import InTeam, MemberFacts, require_team

__all__ = [
    "AdmissionPolicy",
    "Admit",
    "Already",
    "Grant",
    "LeaseFacts",
    "Repeat",
    "UpdateFacts",
    "collecting_ends_ms",
    "decide_lease",
    "decide_release",
    "decide_update",
    "require_near",
    "require_run",
    "require_unused",
]

SOON_S = 1.0
LATER_S = 30.0


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """The numbers of a run that admission goes by; see ``barnraise.config``."""

    run: str
    shards: tuple[str, ...]
    target_updates: int
    collect_for_ms: int
    lease_for_ms: int
    max_rounds: int | None
    max_clock_skew_ms: int
    max_update_bytes: int
    max_pending_updates: int
    recovery_after_ms: int

    @classmethod
    def of(cls, config: RunConfig) -> AdmissionPolicy:
        return cls(
            run=config.name,
            shards=tuple(config.data.shards),
            target_updates=config.round.target_updates,
            collect_for_ms=round(config.round.collect_for_s * 1000),
            lease_for_ms=round(config.round.lease_for_s * 1000),
            max_rounds=config.round.max_rounds,
            max_clock_skew_ms=round(config.gateway.max_clock_skew_s * 1000),
            max_update_bytes=config.gateway.max_update_bytes,
            max_pending_updates=config.gateway.max_pending_updates_per_contributor,
            recovery_after_ms=round(config.gateway.recovery_after_s * 1000),
        )


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """What the ledger knows when a contributor asks for work.

    Attributes:
        round, leases, accepted: the newest round, its leases, and how many of its updates are not rejected.
        nonce_subject, nonce_lease: what the request's nonce was used for, and the lease if it was one.
        last_shard: what the contributor trained on before. banned: why its key is; None for all others.
        holder: node that got the contributor's newest lease without an update; "" if unknown.
    """

    round: RoundRow | None
    leases: Sequence[LeaseRow]
    accepted: int
    nonce_subject: str | None
    nonce_lease: LeaseRow | None
    last_shard: str | None
    banned: str | None = None
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """Record this lease and hand it out."""

    granted: LeaseGranted


@dataclass(frozen=True, slots=True)
class Repeat:
    """Hand out the lease that the contributor already holds."""

    lease: LeaseRow


@dataclass(frozen=True, slots=True)
class UpdateFacts:
    """What is known when an update is announced.

    Attributes:
        known: the update of that digest in the ledger. lease: the one that the envelope names.
        round: the lease's round. nonce_subject: what the envelope's nonce was used for.
        uploader: whose upload of these very bytes has begun; the contributor's own key when nobody's.
        pending: other updates of the contributor that are uploading or not checked yet.
        banned: why its key is; None for all others.
        team: of an update for several contributors, what is known of each.
        in_team: set where the lease was used up by an update that the contributor's work is in.
    """

    known: UpdateRow | None
    lease: LeaseRow | None
    round: RoundRow | None
    nonce_subject: str | None
    uploader: str
    pending: int
    banned: str | None = None
    team: tuple[MemberFacts, ...] = ()
    in_team: InTeam | None = None


@dataclass(frozen=True, slots=True)
class Admit:
    """The bytes may come, under this lease."""

    lease: LeaseRow


@dataclass(frozen=True, slots=True)
class Already:
    """The update was received before; the receipt is the same again."""

    update: UpdateRow


def collecting_ends_ms(first_lease_at_ms: int | None, now_ms: int, collect_for_ms: int) -> int:
    """When collecting ends at the latest; the deadline runs from the round's first lease."""
    return (now_ms if first_lease_at_ms is None else first_lease_at_ms) + collect_for_ms


def decide_lease(
    request: LeaseRequest, contributor: str, facts: LeaseFacts, policy: AdmissionPolicy, *, now_ms: int, lease_id: str
) -> Grant | Repeat | Wait:
    """Answer a request for work.

    Args:
        contributor: the key that signed ``request``.
        lease_id: random, for the lease if one is granted.

    Raises:
        LeaseError: the request is for another run.
        ClockSkewError: it is too old or from the future.
        BannedError: the key is banned.
        ReplayedMessageError: its nonce was used for something that is over.
    """
    require_run(request.run, policy)
    require_near(request.at_ms, now_ms - policy.max_clock_skew_ms, now_ms + policy.max_clock_skew_ms, now_ms)
    _require_welcome(facts.banned)
    current = facts.round
    mine = [lease for lease in facts.leases if lease.contributor == contributor]
    live = next((lease for lease in mine if _is_open(lease, now_ms)), None)
    if facts.nonce_subject is not None and (live is None or live != facts.nonce_lease):
        raise ReplayedMessageError("the nonce of this request was used before; ask again with a new one")
    if current is None:
        return Wait(reason="no round is open yet; the coordinator is starting", retry_after_s=SOON_S)
    if current.phase != "collecting":
        return _between_rounds(current, policy)
    if live is not None:
        return _held_elsewhere(live, facts.holder, request.node, now_ms) or Repeat(live)
    ends_ms = collecting_ends_ms(current.first_lease_at_ms, now_ms, policy.collect_for_ms)
    no_lease_because = _full(current, mine, facts.accepted, policy.target_updates, now_ms >= ends_ms)
    if no_lease_because is not None:
        return Wait(reason=no_lease_because, retry_after_s=SOON_S)
    granted = LeaseGranted(
        lease_id=lease_id,
        contributor=contributor,
        round=current.number,
        base_version=current.base_version,
        base_digest=current.base_digest,
        shard=_least_leased_shard(facts, policy.shards, now_ms),
        nonce=request.nonce,
        issued_at_ms=now_ms,
        expires_at_ms=min(now_ms + policy.lease_for_ms, ends_ms),
        node=request.node,
    )
    return Grant(granted)


def decide_release(
    release: LeaseRelease, contributor: str, lease: LeaseRow | None, policy: AdmissionPolicy, *, now_ms: int
) -> LeaseReleaseAnswer:
    """Whether a lease that is given back is ended by that; where not, it is over already, which is no fault.

    Args:
        contributor: the key that signed ``release``. lease: the one that it names.

    Raises:
        LeaseError: another run, or no lease of that key.
    """
    require_run(release.run, policy)
    if lease is None or lease.contributor != contributor:
        raise LeaseError("no such lease was given to your key; there is nothing to give back")
    if lease.update_digest is not None:
        reason = f"the lease brought {lease.update_digest[:15]}.. already, which stays"
    elif now_ms >= lease.expires_at_ms:
        reason = "the lease was over already"
    else:
        left_s = (lease.expires_at_ms - now_ms) / 1000
        reason = f"the lease of round {lease.round} ends now instead of in {left_s:,.0f} s; {lease.shard} is free again"
        return LeaseReleaseAnswer(lease_id=lease.lease_id, released=True, reason=reason)
    return LeaseReleaseAnswer(lease_id=lease.lease_id, released=False, reason=reason)


def decide_update(
    envelope: UpdateEnvelope, contributor: str, facts: UpdateFacts, policy: AdmissionPolicy, *, now_ms: int
) -> Admit | Already | InTeam:
    """Whether an announced update may be uploaded.

    Args:
        contributor: the key that signed ``envelope``.

    Raises:
        BannedError: the key is banned; of what was received before it still gets the receipt.
        LeaseError: another run; no, a foreign or an expired lease; or the round went on without it.
        ReplayedMessageError: the update, the lease or the nonce was used before.
        ClockSkewError: signed before its lease was issued, or in the future.
        WrongBaseError: made from another base than the lease says.
        OversizedUpdateError: larger than this run accepts.
        QuotaExceededError: too many updates of this contributor are unfinished.
        TeamError: a team's shares do not hold together; of its other faults see
            :func:`coordinator.team_admission.require_team`.
    """
    require_run(envelope.run, policy)
    if facts.known is not None:
        if (facts.known.contributor, facts.known.lease_id) != (contributor, envelope.lease_id):
            raise ReplayedMessageError("this update was already received from somebody else, or under another lease")
        return Already(facts.known)
    if facts.in_team is not None:
        return facts.in_team
    _require_welcome(facts.banned)
    lease = _valid_lease(envelope, contributor, facts, now_ms)
    require_near(
        envelope.at_ms, lease.issued_at_ms - policy.max_clock_skew_ms, now_ms + policy.max_clock_skew_ms, now_ms
    )
    if facts.uploader != contributor:
        raise ReplayedMessageError("this very update is being uploaded by somebody else")
    if facts.nonce_subject is not None:
        raise ReplayedMessageError("the nonce of this envelope was used before; sign it again with a new one")
    if envelope.base_digest != lease.base_digest:
        raise WrongBaseError(
            f"the update was made from {envelope.base_digest[:15]}.., the lease says {lease.base_version} "
            f"({lease.base_digest[:15]}..); pull that base and train again"
        )
    if envelope.size_bytes > policy.max_update_bytes:
        raise OversizedUpdateError(
            f"the update has {envelope.size_bytes:,} bytes, this run accepts up to {policy.max_update_bytes:,}"
        )
    if facts.pending >= policy.max_pending_updates:
        raise QuotaExceededError(
            f"{facts.pending} of your updates are not finished, {policy.max_pending_updates} are allowed; "
            "finish or wait for those first"
        )
    require_team(envelope, contributor, facts.team, now_ms=now_ms, max_clock_skew_ms=policy.max_clock_skew_ms)
    return Admit(lease)


def require_run(run: str, policy: AdmissionPolicy) -> None:
    """Raise LeaseError for a message to another run."""
    if run != policy.run:
        raise LeaseError(f"this coordinator runs {policy.run}, the message is for another run; check the URL")


def require_unused(lease: LeaseRow | None, digest: str) -> None:
    """Raise ReplayedMessageError for a lease that brought another update than this one, or is not known any more."""
    if lease is None:
        raise ReplayedMessageError("the lease of this update is not known here; ask for a new one")
    if lease.update_digest not in {None, digest}:
        raise ReplayedMessageError(f"lease {lease.lease_id[:8]}.. already brought {lease.update_digest[:15]}..")


def _require_welcome(banned: str | None) -> None:
    if banned is not None:
        raise BannedError(f"your key may not contribute to this run: {banned}. If that is a mistake, ask its operator")


def require_near(at_ms: int, earliest_ms: int, latest_ms: int, now_ms: int) -> None:
    """Raise ClockSkewError for a message dated outside of what is allowed, with how far it is off."""
    if not earliest_ms <= at_ms <= latest_ms:
        off_s = abs(at_ms - now_ms) / 1000
        off = f"{off_s:,.0f} s {'ahead of' if at_ms > now_ms else 'behind'} the coordinator's clock"
        raise ClockSkewError(f"the message is dated {off}; set yours and sign it again")


def _is_open(lease: LeaseRow, now_ms: int) -> bool:
    return lease.update_digest is None and now_ms < lease.expires_at_ms


def _held_elsewhere(live: LeaseRow, holder: str, node: str, now_ms: int) -> Wait | None:
    """The same key at work on another machine, or from another folder: the same unit is not trained twice."""
    if not holder or not node or holder == node:
        return None
    left_s = (live.expires_at_ms - now_ms) / 1000
    reason = (
        f"another node with this key holds the lease of round {live.round}, for {left_s:,.0f} s more; "
        "stop one of the two, or give this one a key of its own: barnraise join --key FILE"
    )
    return Wait(reason=reason, retry_after_s=min(max(left_s, SOON_S), LATER_S))


def _between_rounds(current: RoundRow, policy: AdmissionPolicy) -> Wait:
    if current.phase in FINAL and policy.max_rounds is not None and current.number >= policy.max_rounds:
        return Wait(reason=f"the run is complete after {current.number} rounds", retry_after_s=LATER_S)
    reason = f"round {current.number} is {current.phase}; the next one opens after it"
    return Wait(reason=reason, retry_after_s=SOON_S)


def _full(current: RoundRow, mine: Sequence[LeaseRow], accepted: int, target: int, ended: bool) -> str | None:
    """Why a collecting round has no lease for a contributor who holds none now; None when it has."""
    if any(lease.update_digest is not None for lease in mine):
        return f"your update for round {current.number} is in; waiting for others"
    if ended:
        return f"round {current.number} stops collecting now; the next one opens after it"
    if accepted >= target:
        return f"round {current.number} has the {target} updates it wants; the next one opens after it"
    return None


def _least_leased_shard(facts: LeaseFacts, shards: Sequence[str], now_ms: int) -> str:
    """The shard with the fewest leases that brought or may bring an update.

    Among equals the one that the contributor had before, so that it keeps its own data; else the
    first in the configuration.
    """
    taken = Counter(lease.shard for lease in facts.leases if lease.update_digest is not None or _is_open(lease, now_ms))
    return min(shards, key=lambda shard: (taken[shard], shard != facts.last_shard))


def _valid_lease(envelope: UpdateEnvelope, contributor: str, facts: UpdateFacts, now_ms: int) -> LeaseRow:
    lease = facts.lease
    if lease is None or lease.contributor != contributor:
        raise LeaseError("no such lease was given to your key; ask for a new one")
    if lease.round != envelope.round:
        raise LeaseError(f"the lease is for round {lease.round}, the envelope says {envelope.round}")
    require_unused(lease, envelope.update_digest)
    if now_ms >= lease.expires_at_ms:
        late_s = (now_ms - lease.expires_at_ms) / 1000
        raise LeaseError(f"lease {lease.lease_id[:8]}.. expired {late_s:,.0f} s ago; ask for a new one")
    if facts.round is None or facts.round.phase != "collecting":
        phase = "unknown" if facts.round is None else facts.round.phase
        raise LeaseError(f"round {lease.round} is {phase} and takes no more updates; ask for a new lease")
    return lease
