"""Whose key is it: what every signed request asks first, and the requests that change the answer.

Facts are read after the ledger's sequence number, and what was decided is recorded only if nothing else was
recorded meanwhile: of two rotations that race, one finds that it was too late. A recovery whose time is over is
carried out by the first request of either key.
"""

from __future__ import annotations

from collections.abc import Callable

from barnraise.errors import NotFoundError
from barnraise.key_messages import (
    KeyAccepted,
    KeyHistory,
    KeyStep,
    Objection,
    PendingRecovery,
    RecoveryCard,
    RecoveryRequest,
    Rotation,
)
from barnraise.message import Signed
from coordinator.gateway.state import GatewayState
from coordinator.ledger import until_recorded
from coordinator.ledger.key_events import RecoveryRegistered
from coordinator.succession import (
    Accepted,
    CardFacts,
    Decided,
    KeyFacts,
    RecoveryFacts,
    decide_card,
    decide_objection,
    decide_recovery,
    decide_ripe,
    decide_rotation,
    require_in_use,
)

__all__ = ["Keyring"]


class Keyring:
    """The keys of one run's contributors."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state

    def facts(self, key: str) -> KeyFacts:
        """What the run knows of a key; a recovery that is due is carried out first."""
        keys, ledger = self._state.ledger.keys, self._state.ledger
        claimed_for = keys.open_claim_for(key)
        contributor = claimed_for.contributor if claimed_for is not None else keys.contributor_of(key)
        if self._carried_out(contributor):
            claimed_for, contributor = None, keys.contributor_of(key)
        elif claimed_for is not None:
            contributor = key
        return KeyFacts(
            key=key,
            contributor=contributor,
            known=ledger.contributor(contributor) is not None,
            in_use=keys.key_of(contributor),
            replaced_by=keys.replacement(key),
            claim=keys.open_claim(contributor),
            claimed_for=claimed_for,
            rotations=sum(row.how == "rotated" for row in keys.chain(contributor)),
        )

    def in_use(self, key: str) -> KeyFacts:
        """What the run knows of a key that signs a request.

        Raises:
            RetiredKeyError: another key has come in its place.
        """
        found = self.facts(key)
        require_in_use(found)
        return found

    def rotate(self, signed: Signed) -> KeyHistory:
        """Put a new key in the place of an old one. Raises what :func:`decide_rotation` does."""
        accepted = self._accepted(signed, Rotation)
        rotation = Rotation.read(accepted.statement.body)
        return self._record(
            lambda: decide_rotation(
                accepted,
                self.facts(rotation.old),
                self.facts(rotation.new),
                self._state.policy,
                now_ms=self._state.now_ms(),
            )
        )

    def recover(self, signed: Signed) -> KeyHistory:
        """Put down that a recovery key wants a new one. Raises what :func:`decide_recovery` does."""
        accepted = self._accepted(signed, RecoveryRequest)
        return self._record(
            lambda: decide_recovery(
                accepted, self._recovery_facts(accepted), self._state.policy, now_ms=self._state.now_ms()
            )
        )

    def object(self, signed: Signed) -> KeyHistory:
        """End a recovery that is not its owner's doing. Raises what :func:`decide_objection` does."""
        signed.open(Objection)
        return self._record(
            lambda: decide_objection(signed, self.facts(signed.key), self._state.policy, now_ms=self._state.now_ms())
        )

    def card(self, card: Signed | None, contributor: str) -> tuple[tuple[RecoveryRegistered, ...], str | None]:
        """What to record of a recovery card that came with a request for work, and what to say of it.

        Raises:
            BadSignatureError, UnknownFieldError: it is no signed recovery card.
        """
        if card is None:
            return (), None
        names, keys = card.open(RecoveryCard).contributor, self._state.ledger.keys
        facts = CardFacts(
            contributor=contributor,
            names=keys.contributor_of(names),
            mine=keys.recovery(contributor),
            theirs=keys.recovered_by(card.key),
            spent=keys.objected(card.key),
        )
        event, notice = decide_card(card, facts)
        return (() if event is None else (event,)), notice

    def history(self, key: str, reason: str = "") -> KeyHistory:
        """The keys of whoever has or had this one.

        Raises:
            NotFoundError: the run has never seen it.
        """
        facts, ledger = self.facts(key), self._state.ledger
        if facts.claimed_for is not None:
            facts = self.facts(ledger.keys.key_of(facts.claimed_for.contributor))
        first = ledger.contributor(facts.contributor)
        if first is None:
            raise NotFoundError("this run has never seen that key")
        recovery, ban = ledger.keys.recovery(facts.contributor), ledger.ban(facts.contributor)
        steps = [KeyStep(key=first.contributor, how="first", since_ms=first.first_seen_at_ms)]
        for row in ledger.keys.chain(facts.contributor):
            steps.append(KeyStep.model_validate({"key": row.key, "how": row.how, "since_ms": row.since_ms}))
        claim = facts.claim
        return KeyHistory(
            run=self._state.config.name,
            contributor=facts.contributor,
            keys=tuple(steps),
            recovery=recovery.recovery_key if recovery is not None else None,
            pending=None
            if claim is None
            else PendingRecovery(claim=claim.claim_id, new=claim.new_key, effective_at_ms=claim.effective_at_ms),
            banned=ban.reason if ban is not None else None,
            reason=reason,
        )

    def _recovery_facts(self, accepted: Accepted) -> RecoveryFacts:
        keys = self._state.ledger.keys
        registered = keys.recovered_by(accepted.statement.key)
        lost = self.facts(keys.key_of(registered.contributor)) if registered is not None else None
        earlier = keys.claim(RecoveryRequest.read(accepted.statement.body).nonce)
        return RecoveryFacts(lost, self.facts(accepted.by), earlier)

    def _accepted(self, signed: Signed, kind: type[Rotation | RecoveryRequest]) -> Accepted:
        """Both signatures checked."""
        statement = signed.open(KeyAccepted).statement
        statement.open(kind)
        return Accepted(statement, signed)

    def _record(self, decide: Callable[[], Decided]) -> KeyHistory:
        ledger = self._state.ledger

        def attempt() -> Decided:
            seen, decided = ledger.last_seq(), decide()
            ledger.record(*decided.events, at_ms=self._state.now_ms(), expect_seq=seen)
            return decided

        decided = until_recorded("change a key", attempt)
        return self.history(decided.contributor, decided.reason)

    def _carried_out(self, contributor: str) -> bool:
        """Carry out the claim on a contributor if its time is over; whether there was one."""
        ledger = self._state.ledger

        def attempt() -> bool:
            seen, claim = ledger.last_seq(), ledger.keys.open_claim(contributor)
            events = decide_ripe(claim, ledger.keys.key_of(contributor), now_ms=self._state.now_ms())
            if events:
                ledger.record(*events, at_ms=self._state.now_ms(), expect_seq=seen)
            return bool(events)

        return until_recorded("carry out a recovery", attempt)
