"""Bring a finished update to the coordinator, and learn later what became of it.

What is in the outgoing slot of the node's state is sent until there is a receipt or a
refusal, also by the next process after a crash. The coordinator takes an update once, so
sending it twice is harmless.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from barnraise.errors import RefusedError, VerificationError
from barnraise.identity import Identity
from barnraise.protocol import Receipt, RunInfo, Signed, UpdateEnvelope, UpdateStatus
from contributor.client import GatewayClient
from contributor.events import Fate, NodeEvent, Received, Sent
from contributor.interrupt import StopRequestedError
from contributor.patience import Patience
from contributor.state import NodeFolder, NodeState, Outgoing

__all__ = ["Delivery"]

RESIGN_AFTER_MS = 60_000
FINAL_STATES = frozenset({"merged", "unmerged", "rejected", "reverted"})


@dataclass(frozen=True)
class Delivery:
    """Sends from one node's folder to one coordinator."""

    info: RunInfo
    identity: Identity
    folder: NodeFolder
    client: GatewayClient
    patience: Patience
    report: Callable[[NodeEvent], None]
    now_ms: Callable[[], int]

    def deliver(self, state: NodeState) -> tuple[NodeState, RefusedError | None]:
        """Send the outgoing update, if there is one.

        Returns:
            the committed state, and the coordinator's refusal if it will never take the update.

        Raises:
            StopRequestedError: asked to stop; the update stays in the outgoing slot.
            VerificationError: a receipt that is not for this update.
            NetworkError: no answer, or one that is not a coordinator's; the update stays.
        """
        outgoing = state.outgoing
        if outgoing is None:
            return state, None
        try:
            receipt = self._upload(outgoing)
        except RefusedError as refusal:
            if not refusal.remote_code:
                raise
            if refusal.remote_code == "clock-skew" and self._is_old(outgoing):
                return self.deliver(
                    self.folder.commit(state.model_copy(update={"outgoing": self._signed_now(outgoing)}))
                )
            state = self.folder.commit(state.refused())
            self.report(Fate(outgoing.digest, "refused", str(refusal)))
            return state, refusal
        state = self.folder.commit(state.received(receipt.round))
        self._report_sent(outgoing, receipt)
        return state, None

    def learn_fates(self, state: NodeState) -> NodeState:
        """Ask about every update whose fate is not known; the committed state."""
        for update in state.sent:
            status = self._status(update.digest)
            if status is None:
                state = self.folder.commit(state.settled(update.digest, fold_back=False))
                self.report(Fate(update.digest, "unknown", "the coordinator does not know this update"))
            elif status.state in FINAL_STATES:
                fold_back = status.state == "unmerged" and status.fold_back
                state = self.folder.commit(state.settled(update.digest, fold_back=fold_back))
                self.report(_fate(status, fold_back=fold_back))
        return state

    def _upload(self, outgoing: Outgoing) -> Receipt:
        data = self.folder.store.read(outgoing.digest)
        interrupt = self.patience.interrupt
        signed = self.patience.ask(
            lambda: self.client.upload(outgoing.envelope, data, stop=lambda: interrupt.stop), until_stop=True
        )
        if signed is None:
            raise StopRequestedError
        receipt = signed.open(Receipt)
        found = signed.key, receipt.update_digest, receipt.contributor
        if found != (self.info.coordinator_key, outgoing.digest, self.identity.public):
            raise VerificationError("the receipt is not this coordinator's for this update; the update is kept to send")
        return receipt

    def _status(self, digest: str) -> UpdateStatus | None:
        try:
            return self.patience.ask(lambda: self.client.status(digest))
        except RefusedError as refusal:
            if refusal.status == 404 and refusal.remote_code:
                return None
            raise

    def _is_old(self, outgoing: Outgoing) -> bool:
        """Whether the envelope was signed so long ago that a new signature may help."""
        return self.now_ms() - int(outgoing.envelope.body["at_ms"]) > RESIGN_AFTER_MS

    def _signed_now(self, outgoing: Outgoing) -> Outgoing:
        """The same update under an envelope of this moment."""
        envelope = outgoing.envelope.open(UpdateEnvelope)
        renewed = envelope.model_copy(update={"nonce": secrets.token_hex(16), "at_ms": self.now_ms()})
        return outgoing.model_copy(update={"envelope": Signed.make(renewed, self.identity)})

    def _report_sent(self, outgoing: Outgoing, receipt: Receipt) -> None:
        said = outgoing.envelope.open(UpdateEnvelope)
        self.report(Sent(said.update_digest, said.size_bytes, outgoing.dense_bytes, said.loss_first, said.loss_last))
        self.report(Received(receipt.update_digest, receipt.round))


def _fate(status: UpdateStatus, *, fold_back: bool) -> Fate:
    reason = f"{status.reason}; added back to the next unit" if fold_back else status.reason
    return Fate(status.digest, status.state, reason)
