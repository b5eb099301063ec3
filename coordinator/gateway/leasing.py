"""Answer requests for work: read the facts, let admission decide, record, sign.

The facts are read after the ledger's sequence number and the decision is recorded only if
nothing else was recorded meanwhile, so a lease is never given in a round that has just
stopped collecting.
"""

from __future__ import annotations

import threading

from barnraise.message import Signed
from barnraise.protocol import Lease, LeaseAnswer, LeaseRelease, LeaseReleaseAnswer, LeaseRequest, Wait, mask_ref
from coordinator.admission import Grant, LeaseFacts, Repeat, decide_lease, decide_release
from coordinator.gateway.keyring import Keyring
from coordinator.gateway.state import GatewayState
from coordinator.ledger import LeaseRow, Ledger, until_recorded
from coordinator.ledger.events import ContributorSeen, Event, LeaseGranted, LeaseReleased
from coordinator.succession import notice_of_claim, wait_for_place

__all__ = ["Leasing"]


class Leasing:
    """Gives out leases of one run."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._keyring = Keyring(state)
        self._one_at_a_time = threading.Lock()

    def answer(self, signed: Signed) -> LeaseAnswer:
        """A lease, or why there is none now.

        Raises:
            BadSignatureError, UnknownFieldError, BadNameError: not a signed lease request.
            LeaseError, ClockSkewError, ReplayedMessageError, RetiredKeyError: not one that can be answered.
            StorageError: the ledger is too busy; nothing was recorded.
        """
        request = signed.open(LeaseRequest)
        with self._one_at_a_time:
            return until_recorded("give a lease", lambda: self._decide_and_record(request, signed.key))

    def release(self, signed: Signed) -> LeaseReleaseAnswer:
        """End a lease before its time, because its contributor says that nothing will come of it.

        Raises:
            BadSignatureError, UnknownFieldError: not a signed release.
            LeaseError: no such lease of that key.
            StorageError: the ledger is too busy; nothing was recorded.
        """
        release = signed.open(LeaseRelease)
        with self._one_at_a_time:
            return until_recorded("end a lease", lambda: self._end(release, signed.key))

    def _end(self, release: LeaseRelease, key: str) -> LeaseReleaseAnswer:
        state = self._state
        seen, lease, now_ms = state.ledger.last_seq(), state.ledger.lease(release.lease_id), state.now_ms()
        contributor = self._keyring.in_use(key).contributor
        answer = decide_release(release, contributor, lease, state.policy, now_ms=now_ms)
        if answer.released and lease is not None:
            ended = LeaseReleased(lease.lease_id, contributor, lease.round)
            state.ledger.record(ended, at_ms=now_ms, expect_seq=seen)
        return answer

    def _decide_and_record(self, request: LeaseRequest, key: str) -> LeaseAnswer:
        state = self._state
        seen = state.ledger.last_seq()
        holder = self._keyring.in_use(key)
        contributor, now_ms = holder.contributor, state.now_ms()
        if holder.claimed_for is not None:
            return LeaseAnswer(wait=wait_for_place(holder.claimed_for, now_ms=now_ms))
        registered, told = self._keyring.card(request.recovery, contributor)
        notice = notice_of_claim(holder.claim, now_ms=now_ms) or told
        facts = lease_facts(state.ledger, contributor, request.nonce)
        decision = decide_lease(request, contributor, facts, state.policy, now_ms=now_ms, lease_id=state.draw_id())
        match decision:
            case Wait():
                return LeaseAnswer(wait=decision, notice=notice)
            case Repeat(lease):
                return LeaseAnswer(lease=self._signed(lease, key), notice=notice)
            case Grant(granted):
                events = (*_news_of(state.ledger, contributor, request.name), *registered, granted)
                state.ledger.record(*events, at_ms=now_ms, expect_seq=seen)
                return LeaseAnswer(lease=self._signed(granted, key), notice=notice)

    def _signed(self, lease: LeaseRow | LeaseGranted, key: str) -> Signed:
        """The lease as a message to the contributor's key; the same row gives the same bytes."""
        config = self._state.config
        message = Lease(
            lease_id=lease.lease_id,
            contributor=key,
            round=lease.round,
            base_version=lease.base_version,
            base_digest=lease.base_digest,
            shard=lease.shard,
            seed=int(lease.lease_id[:12], 16),
            training=config.training_in(lease.round),
            codec=config.update.codec,
            fisher=config.update.fisher,
            train=config.update.train,
            lora=config.update.lora,
            mask=mask_ref(config.update),
            turns=config.update.turns,
            issued_at_ms=lease.issued_at_ms,
            expires_at_ms=lease.expires_at_ms,
        )
        return Signed.make(message, self._state.identity)


def lease_facts(ledger: Ledger, contributor: str, nonce: str) -> LeaseFacts:
    """What the ledger knows that bears on a request for work."""
    current = ledger.current_round()
    counts = ledger.update_counts(current.number) if current else {}
    ban = ledger.ban(contributor)
    leases = ledger.leases(current.number) if current else []
    mine = [lease for lease in leases if lease.contributor == contributor and lease.update_digest is None]
    return LeaseFacts(
        round=current,
        leases=leases,
        accepted=sum(counts.values()) - counts.get("rejected", 0),
        nonce_subject=ledger.nonce_subject(contributor, nonce),
        nonce_lease=ledger.lease_by_nonce(contributor, nonce),
        last_shard=ledger.last_shard(contributor),
        banned=ban.reason if ban else None,
        holder=ledger.lease_holder(mine[-1].lease_id) if mine else "",
    )


def _news_of(ledger: Ledger, contributor: str, name: str) -> tuple[Event, ...]:
    """The event that a key is new, or has a new name; nothing otherwise."""
    known = ledger.contributor(contributor)
    return () if known is not None and known.name == name else (ContributorSeen(contributor, name),)
