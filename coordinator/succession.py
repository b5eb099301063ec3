"""Whose key signs from now on: pure decisions on rotations, recoveries and objections.

A contributor is named by its first key for ever; leases, updates, scores and bans hang on that name. What a
rotation or recovery changes is only which key signs for it.

    rotation     both keys have signed         --> at once
    recovery     recovery key and new key      --> when ``recovery_after`` is over, unless
    objection    the key in use                --> the claim ends, and its recovery key counts no more

Who has stolen a recovery code is stopped by the key in use; who has stolen the key in use is stopped by the
operator, who can ban it. docs/adr/0021-keys-that-follow-each-other.md says why it is this way round.

A signed statement can be sent again, by anybody: a key comes to a contributor once and leaves it once, and a
recovery request is known by its nonce, so the second time nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from barnraise.errors import (
    BadSignatureError,
    QuotaExceededError,
    ReplayedMessageError,
    RetiredKeyError,
    SuccessionError,
)
from barnraise.key_messages import Objection, RecoveryRequest, Rotation
from barnraise.message import Signed
from barnraise.narrate import short
from barnraise.protocol import Wait
from coordinator.admission import AdmissionPolicy, require_near, require_run
from coordinator.ledger import ClaimRow, KeyRow, RecoveryRow
from coordinator.ledger.key_events import KeyEvent, KeyReplaced, RecoveryClaimed, RecoveryEnded, RecoveryRegistered

__all__ = [
    "Accepted",
    "CardFacts",
    "Decided",
    "KeyFacts",
    "RecoveryFacts",
    "decide_card",
    "decide_objection",
    "decide_recovery",
    "decide_ripe",
    "decide_rotation",
    "notice_of_claim",
    "require_in_use",
    "wait_for_place",
]


LOOK_AGAIN_S = 60.0
ROTATIONS_MAX = 64
"""Of one contributor: whoever asks for nothing but rotations does not fill the ledger. A recovery counts apart."""


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What the run knows of one key.

    Attributes:
        contributor: whose it is or was; the key itself when it came in no other's place.
        known: its contributor has asked for work at least once.
        in_use: the key that signs for its contributor now.
        replaced_by: the key that came in its place; None while nothing did.
        claim: the open claim on its contributor. claimed_for: the open claim by which it would come to somebody.
        rotations: how many keys of its contributor came by rotation.
    """

    key: str
    contributor: str
    known: bool
    in_use: str
    replaced_by: KeyRow | None = None
    claim: ClaimRow | None = None
    claimed_for: ClaimRow | None = None
    rotations: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """A statement, and the signed ``KeyAccepted`` that it came in; both signatures checked."""

    statement: Signed
    acceptance: Signed

    @property
    def by(self) -> str:
        """The key that accepted."""
        return self.acceptance.key

    @property
    def kept(self) -> dict[str, Any]:
        """For the ledger: all that was signed."""
        return self.acceptance.model_dump(mode="json")


@dataclass(frozen=True, slots=True)
class RecoveryFacts:
    """What bears on a recovery.

    Attributes:
        lost: the key in use of the contributor that the recovery key is registered for; None for nobody.
        new: the key that accepted. earlier: the claim of the same nonce.
    """

    lost: KeyFacts | None
    new: KeyFacts
    earlier: ClaimRow | None = None


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What bears on a recovery card.

    Attributes:
        contributor: who shows it. names: whose the key is that the card names.
        mine: registered for the contributor. theirs: whom the card's key is registered for.
        spent: a key in use has objected to the card's key.
    """

    contributor: str
    names: str
    mine: RecoveryRow | None
    theirs: RecoveryRow | None
    spent: bool


@dataclass(frozen=True, slots=True)
class Decided:
    """Record ``events`` (none when that was done before), and say why."""

    contributor: str
    events: tuple[KeyEvent, ...]
    reason: str


def require_in_use(facts: KeyFacts) -> None:
    """Raise RetiredKeyError for a key that signs for nobody any more."""
    after = facts.replaced_by
    if after is not None:
        raise RetiredKeyError(
            f"key {short(facts.key)} was {after.how} and signs no more; {short(facts.in_use)} does in its place. "
            "Take that one here with: barnraise identity import FILE --in-place-of-old"
        )


def decide_rotation(
    accepted: Accepted, old: KeyFacts, new: KeyFacts, policy: AdmissionPolicy, *, now_ms: int
) -> Decided:
    """Whether ``new`` takes the place of ``old``, at once.

    Args:
        accepted: a :class:`Rotation`.

    Raises:
        LeaseError, ClockSkewError: for another run, or dated too far from now.
        BadSignatureError: not signed by the two keys that it names.
        RetiredKeyError: ``old`` was replaced by another key before.
        SuccessionError: the run does not know ``old``, ``new`` is taken, or a claim is open.
        QuotaExceededError: this contributor has rotated too often.
    """
    rotation = Rotation.read(accepted.statement.body)
    require_run(rotation.run, policy)
    if (rotation.old, rotation.new) != (accepted.statement.key, accepted.by):
        raise BadSignatureError("a rotation is signed by the old key and accepted by the new one; sign it with both")
    done = old.replaced_by
    if done is not None and done.key == rotation.new:
        return Decided(old.contributor, (), f"{short(done.key)} signs in place of {short(old.key)} already")
    require_near(rotation.at_ms, now_ms - policy.max_clock_skew_ms, now_ms + policy.max_clock_skew_ms, now_ms)
    require_in_use(old)
    if not old.known:
        raise SuccessionError(
            f"this run does not know key {short(old.key)}, so there is no history to keep; join with the new key"
        )
    if old.claim is not None:
        raise SuccessionError(
            f"a recovery to key {short(old.claim.new_key)} was asked for and is open. If that was not you, first: "
            "barnraise identity object"
        )
    if old.rotations >= ROTATIONS_MAX:
        raise QuotaExceededError(f"your key was rotated {old.rotations} times, no more are possible in this run")
    _require_free(new)
    reason = f"{short(old.key)} and {short(new.key)} have both signed that the second takes the place of the first"
    event = KeyReplaced(old.contributor, old.key, new.key, "rotated", reason, accepted.kept)
    return Decided(old.contributor, (event,), reason)


def decide_recovery(accepted: Accepted, facts: RecoveryFacts, policy: AdmissionPolicy, *, now_ms: int) -> Decided:
    """Whether a recovery key's request is put down, to take effect later.

    Args:
        accepted: a :class:`RecoveryRequest`; the key of its statement is the recovery key.

    Raises:
        LeaseError, ClockSkewError: for another run, or dated too far from now.
        BadSignatureError: not accepted by the key that it names.
        ReplayedMessageError: its nonce was used for a claim that is over.
        SuccessionError: nobody's recovery key, ``new`` is taken, or another claim is open.
    """
    request, lost, new, earlier = RecoveryRequest.read(accepted.statement.body), facts.lost, facts.new, facts.earlier
    require_run(request.run, policy)
    if request.new != accepted.by:
        raise BadSignatureError("a recovery is accepted by the new key that it names; sign it with that one")
    if lost is None:
        raise SuccessionError(
            "no contributor of this run has registered this recovery code: it is another run's, it was objected to, "
            "or the lost key never asked for work with it. Nothing was changed; join with a new key"
        )
    if earlier is not None and earlier.ended_at_ms is not None:
        raise ReplayedMessageError("this recovery request was used before; ask again with a new nonce")
    if lost.claim is not None and lost.claim.new_key == request.new:
        return Decided(lost.contributor, (), _will_take(lost.claim, now_ms))
    require_near(request.at_ms, now_ms - policy.max_clock_skew_ms, now_ms + policy.max_clock_skew_ms, now_ms)
    if lost.in_use == request.new:
        return Decided(lost.contributor, (), f"{short(request.new)} signs for this contributor already")
    if lost.claim is not None:
        raise SuccessionError(
            f"another recovery, to key {short(lost.claim.new_key)}, is open for {_hours(lost.claim, now_ms)} more; if "
            "that is not yours the key in use can object, else ask the operator"
        )
    _require_free(new)
    event = RecoveryClaimed(
        claim_id=request.nonce,
        contributor=lost.contributor,
        new_key=new.key,
        recovery_key=accepted.statement.key,
        effective_at_ms=now_ms + policy.recovery_after_ms,
        statement=accepted.kept,
    )
    hours = policy.recovery_after_ms / 3_600_000
    reason = f"{short(new.key)} takes the place of {short(lost.in_use)} in {hours:.0f} h unless that key objects"
    return Decided(lost.contributor, (event,), reason)


def decide_objection(signed: Signed, facts: KeyFacts, policy: AdmissionPolicy, *, now_ms: int) -> Decided:
    """Whether an objection ends the claim that it names.

    Args:
        signed: :class:`Objection`, signature checked. facts: of the key that signed it.

    Raises:
        LeaseError, ClockSkewError: for another run, or dated too far from now.
        RetiredKeyError: the key signs for nobody any more; the claim took effect before.
        SuccessionError: no such claim on this key's contributor is open.
    """
    objection = Objection.read(signed.body)
    require_run(objection.run, policy)
    require_near(objection.at_ms, now_ms - policy.max_clock_skew_ms, now_ms + policy.max_clock_skew_ms, now_ms)
    require_in_use(facts)
    claim = facts.claim
    if claim is None or claim.claim_id != objection.claim:
        raise SuccessionError("there is no open recovery of that name for this key; see: barnraise identity show URL")
    reason = f"the key in use, {short(facts.key)}, objects to {short(claim.new_key)}; the recovery code counts no more"
    event = RecoveryEnded(claim.claim_id, claim.contributor, False, reason, signed.model_dump(mode="json"))
    return Decided(claim.contributor, (event,), reason)


def decide_ripe(claim: ClaimRow | None, in_use: str, *, now_ms: int) -> tuple[KeyEvent, ...]:
    """What carries out a claim whose time is over; nothing before."""
    if claim is None or now_ms < claim.effective_at_ms:
        return ()
    days = (claim.effective_at_ms - claim.claimed_at_ms) / 86_400_000
    reason = f"the recovery key asked for it, and in {days:.1f} days the key in use did not object"
    return (
        RecoveryEnded(claim.claim_id, claim.contributor, True, reason, {}),
        KeyReplaced(claim.contributor, in_use, claim.new_key, "recovered", reason, {"claim": claim.claim_id}),
    )


def decide_card(card: Signed, facts: CardFacts) -> tuple[RecoveryRegistered | None, str | None]:
    """Whether a recovery card is registered, and what its contributor must be told; it keeps nobody from work.

    Args:
        card: signature checked; its key is the recovery key.
    """
    if facts.mine is not None and facts.mine.recovery_key == card.key:
        return None, None
    if facts.names != facts.contributor:
        return None, "your recovery card names somebody else's key and was not registered"
    if facts.mine is not None:
        return None, "another recovery code is registered for you; the one at hand does not count in this run"
    if facts.spent or facts.theirs is not None:
        why = "was objected to" if facts.spent else "is another contributor's"
        return None, f"your recovery code {why} and does not count; make another: barnraise identity new-code"
    return RecoveryRegistered(facts.contributor, card.key, card.model_dump(mode="json")), None


def wait_for_place(claim: ClaimRow, *, now_ms: int) -> Wait:
    """What a key is told that asks for work before its recovery takes effect."""
    left_s = max(0, claim.effective_at_ms - now_ms) / 1000
    return Wait(reason=f"the recovery to key {_will_take(claim, now_ms)}", retry_after_s=min(LOOK_AGAIN_S, left_s))


def notice_of_claim(claim: ClaimRow | None, *, now_ms: int) -> str | None:
    """What the key in use is told while somebody claims its place."""
    if claim is None:
        return None
    return (
        f"whoever holds your recovery code wants key {short(claim.new_key)} in the place of yours in "
        f"{_hours(claim, now_ms)}. If that is not you: barnraise identity object"
    )


def _require_free(new: KeyFacts) -> None:
    if new.known or new.contributor != new.key or new.replaced_by is not None or new.claimed_for is not None:
        raise SuccessionError(
            f"key {short(new.key)} is or was somebody's in this run; a key that takes another's place must be new"
        )


def _will_take(claim: ClaimRow, now_ms: int) -> str:
    return f"{short(claim.new_key)} takes effect in {_hours(claim, now_ms)} unless the key in use objects"


def _hours(claim: ClaimRow, now_ms: int) -> str:
    return f"{max(0, claim.effective_at_ms - now_ms) / 3_600_000:.1f} h"
