"""Answer requests for work: read the facts, let admission decide, record, sign.

The facts are read after the ledger's sequence number and the decision is recorded only if
nothing else was recorded meanwhile, so a lease is never given in a round that has just
stopped collecting.
"""

from __future__ import annotations

import threading

from barnraise.errors import StorageError
from barnraise.protocol import Lease, LeaseAnswer, LeaseRequest, Signed, Wait
from coordinator.admission import Grant, LeaseFacts, Repeat, decide_lease
from coordinator.gateway.state import GatewayState
from coordinator.ledger import LeaseRow, Ledger, LedgerMovedError
from coordinator.ledger.events import ContributorSeen, Event, LeaseGranted

__all__ = ["Leasing"]

ATTEMPTS = 50


class Leasing:
    """Gives out leases of one run."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._one_at_a_time = threading.Lock()

    def answer(self, signed: Signed) -> LeaseAnswer:
        """A lease, or why there is none now.

        Raises:
            BadSignatureError, UnknownFieldError, BadNameError: not a signed lease request.
            LeaseError, ClockSkewError, ReplayedMessageError: not one that can be answered.
            StorageError: the ledger is too busy; nothing was recorded.
        """
        request = signed.open(LeaseRequest)
        with self._one_at_a_time:
            for _ in range(ATTEMPTS):
                try:
                    return self._decide_and_record(request, signed.key)
                except LedgerMovedError:
                    continue
        raise StorageError("the ledger is too busy to give a lease; nothing was recorded. Ask again.")

    def _decide_and_record(self, request: LeaseRequest, contributor: str) -> LeaseAnswer:
        state = self._state
        seen = state.ledger.last_seq()
        facts = lease_facts(state.ledger, contributor, request.nonce)
        now_ms = state.now_ms()
        decision = decide_lease(request, contributor, facts, state.policy, now_ms=now_ms, lease_id=state.draw_id())
        match decision:
            case Wait():
                return LeaseAnswer(wait=decision)
            case Repeat(lease):
                return LeaseAnswer(lease=self._signed(lease))
            case Grant(granted):
                events = (*_news_of(state.ledger, contributor, request.name), granted)
                state.ledger.record(*events, at_ms=now_ms, expect_seq=seen)
                return LeaseAnswer(lease=self._signed(granted))

    def _signed(self, lease: LeaseRow | LeaseGranted) -> Signed:
        """The lease as a message; the same row gives the same bytes."""
        config = self._state.config
        message = Lease(
            lease_id=lease.lease_id,
            contributor=lease.contributor,
            round=lease.round,
            base_version=lease.base_version,
            base_digest=lease.base_digest,
            shard=lease.shard,
            seed=int(lease.lease_id[:12], 16),
            training=config.training,
            codec=config.update.codec,
            fisher=config.update.fisher,
            issued_at_ms=lease.issued_at_ms,
            expires_at_ms=lease.expires_at_ms,
        )
        return Signed.make(message, self._state.identity)


def lease_facts(ledger: Ledger, contributor: str, nonce: str) -> LeaseFacts:
    """What the ledger knows that bears on a request for work."""
    current = ledger.current_round()
    counts = ledger.update_counts(current.number) if current else {}
    ban = ledger.ban(contributor)
    return LeaseFacts(
        round=current,
        leases=ledger.leases(current.number) if current else (),
        accepted=sum(counts.values()) - counts.get("rejected", 0),
        nonce_subject=ledger.nonce_subject(contributor, nonce),
        nonce_lease=ledger.lease_by_nonce(contributor, nonce),
        last_shard=ledger.last_shard(contributor),
        banned=ban.reason if ban else None,
    )


def _news_of(ledger: Ledger, contributor: str, name: str) -> tuple[Event, ...]:
    """The event that a key is new, or has a new name; nothing otherwise."""
    known = ledger.contributor(contributor)
    return () if known is not None and known.name == name else (ContributorSeen(contributor, name),)
