"""Bring finished updates to the coordinator, and learn later what became of them.

What is in the outbox of the node's state is offered until there is a receipt or a refusal,
also by the next process after a crash. The coordinator takes an update once, so sending it
twice is harmless. Nothing here waits: an update that cannot be sent now stays, and the
caller decides whether to wait or to go on with other work.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from functools import partial

from barnraise.errors import NetworkError, RefusedError, VerificationError
from barnraise.message import Signed
from barnraise.protocol import Receipt, RunInfo, UpdateEnvelope, UpdateStatus
from contributor.backoff import worth_repeating
from contributor.events import Carried, Fate, Received, Sent
from contributor.interrupt import StopRequestedError
from contributor.pacing import Pacing
from contributor.parts import Parts
from contributor.state import NodeState, Outgoing

__all__ = ["Delivered", "Delivery"]

RESIGN_AFTER_MS = 60_000
FINAL_STATES = frozenset({"merged", "unmerged", "rejected", "reverted"})


@dataclass(frozen=True)
class Delivered:
    """What one round of the outbox came to.

    Attributes:
        state: as committed.
        receipts: how many were received.
        refusals: of updates that will never be taken, oldest first.
        setback: why what is still in the outbox could not be sent now; None when the outbox is empty.
        held_until_ms: when the first of those may be sent that a team's update is to carry; None without any.
    """

    state: NodeState
    receipts: int = 0
    refusals: tuple[RefusedError, ...] = ()
    setback: NetworkError | None = None
    held_until_ms: int | None = None

    def holding(self, until_ms: int) -> Delivered:
        """One more is held."""
        return replace(self, held_until_ms=min(until_ms, self.held_until_ms or until_ms))


@dataclass(frozen=True)
class Delivery:
    """Sends from one node's folder to one coordinator."""

    info: RunInfo
    parts: Parts

    def deliver(self, state: NodeState) -> Delivered:
        """Try every update in the outbox once, oldest first.

        Raises:
            StopRequestedError: asked to stop; what was not received stays in the outbox.
            VerificationError: a receipt that is not for this update.
            RefusedError: an answer that is not a coordinator's; all stays.
        """
        so_far = Delivered(state)
        for outgoing in state.outbox:
            if outgoing.held_until_ms is not None and self.parts.now_ms() < outgoing.held_until_ms:
                so_far = so_far.holding(outgoing.held_until_ms)
                continue
            try:
                so_far = self._offer(so_far, outgoing)
            except NetworkError as error:
                if not worth_repeating(error):
                    raise
                so_far = replace(so_far, setback=error)
                if not isinstance(error, RefusedError):
                    break  # nobody answers; the others would wait for the same time-out
        return so_far

    def learn_fates(self, state: NodeState) -> NodeState:
        """Ask about every update whose fate is not known; the committed state.

        Raises:
            NetworkError: no answer, or one that is not a coordinator's.
        """
        parts = self.parts
        for update in state.sent:
            status = self._status(update.digest)
            if status is None:
                state = parts.folder.commit(state.settled(update.digest, fold_back=False))
                parts.report(Fate(update.digest, "unknown", "the coordinator does not know this update"))
            elif status.state in FINAL_STATES:
                fold_back = status.state == "unmerged" and status.fold_back and not update.foreign
                parts.report(_fate(status, fold_back=fold_back))
                state = parts.folder.commit(state.settled(update.digest, fold_back=fold_back))
        return state

    def _offer(self, so_far: Delivered, outgoing: Outgoing) -> Delivered:
        """Send one update, under a new signature if its old one is too old by now, or by a key that was replaced."""
        parts = self.parts
        if outgoing.envelope.key != parts.identity.public:
            so_far, outgoing = self._signed_again(so_far, outgoing)
        try:
            return self._received(so_far, outgoing, self._upload(outgoing))
        except RefusedError as refusal:
            if not refusal.remote_code or worth_repeating(refusal):
                raise
            if outgoing.instead is not None:
                return self._instead(so_far, outgoing, outgoing.instead, refusal)
            if refusal.remote_code == "retired-key":
                raise
            if refusal.remote_code == "clock-skew" and self._is_old(outgoing):
                return self._offer(*self._signed_again(so_far, outgoing))
            parts.report(Fate(outgoing.digest, "refused", str(refusal)))
            state = parts.folder.commit(so_far.state.refused(outgoing.digest))
            return replace(so_far, state=state, refusals=(*so_far.refusals, refusal))

    def _instead(self, so_far: Delivered, team: Outgoing, own: Outgoing, refusal: RefusedError) -> Delivered:
        """The team's update is not taken: send what this machine made alone, as the other members do."""
        self.parts.report(Carried(team.digest, own.digest, f"the team's update was not taken ({refusal}); sent alone"))
        state = self.parts.folder.commit(so_far.state.instead_of(team.digest))
        return self._offer(replace(so_far, state=state), own)

    def _received(self, so_far: Delivered, outgoing: Outgoing, receipt: Receipt) -> Delivered:
        if receipt.update_digest != outgoing.digest:
            return self._carried(so_far, outgoing, receipt)
        said, report = outgoing.envelope.open(UpdateEnvelope), self.parts.report
        report(Sent(said.update_digest, said.size_bytes, outgoing.dense_bytes, said.loss_first, said.loss_last))
        state = self.parts.folder.commit(so_far.state.received(outgoing.digest, receipt.round))
        report(Received(receipt.update_digest, receipt.round))
        return replace(so_far, state=state, receipts=so_far.receipts + 1)

    def _carried(self, so_far: Delivered, outgoing: Outgoing, receipt: Receipt) -> Delivered:
        """Another member's update has this unit's work in it."""
        report, by = self.parts.report, receipt.update_digest
        report(Carried(outgoing.digest, by, "the team's update has come, with this machine's work in it"))
        state = self.parts.folder.commit(so_far.state.carried(outgoing.digest, by, receipt.round))
        report(Received(by, receipt.round))
        return replace(so_far, state=state, receipts=so_far.receipts + 1)

    def _upload(self, outgoing: Outgoing) -> Receipt:
        parts, interrupt = self.parts, self.parts.interrupt
        wait = partial(interrupt.wait, until_stop=True)
        pacing = Pacing(lambda: parts.advice.wish().up_bytes_per_s, wait, parts.clock_s)
        data = parts.folder.store.read(outgoing.digest)
        signed = parts.client.upload(outgoing.envelope, data, stop=lambda: interrupt.stop, pacing=pacing)
        if signed is None:
            raise StopRequestedError
        receipt = signed.open(Receipt)
        found = (
            signed.key,
            receipt.contributor,
            receipt.update_digest == outgoing.digest or parts.swarm.team is not None,
        )
        if found != (self.info.coordinator_key, parts.identity.public, True):
            raise VerificationError("the receipt is not this coordinator's for this update; the update is kept to send")
        return receipt

    def _status(self, digest: str) -> UpdateStatus | None:
        try:
            return self.parts.client.status(digest)
        except RefusedError as refusal:
            if refusal.status == 404 and refusal.remote_code:
                return None
            raise

    def _is_old(self, outgoing: Outgoing) -> bool:
        """Whether the envelope was signed so long ago that a new signature may help."""
        return self.parts.now_ms() - int(outgoing.envelope.body["at_ms"]) > RESIGN_AFTER_MS

    def _signed_again(self, so_far: Delivered, outgoing: Outgoing) -> tuple[Delivered, Outgoing]:
        """The same update under an envelope of this moment, committed."""
        envelope = outgoing.envelope.open(UpdateEnvelope)
        renewed = envelope.model_copy(update={"nonce": secrets.token_hex(16), "at_ms": self.parts.now_ms()})
        outgoing = outgoing.model_copy(update={"envelope": Signed.make(renewed, self.parts.identity)})
        return replace(so_far, state=self.parts.folder.commit(so_far.state.resigned(outgoing))), outgoing


def _fate(status: UpdateStatus, *, fold_back: bool) -> Fate:
    reason = f"{status.reason}; added back to the next unit" if fold_back else status.reason
    return Fate(status.digest, status.state, reason, status.version if status.state == "merged" else None)
