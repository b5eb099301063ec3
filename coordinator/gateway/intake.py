"""Take updates in. A 200 with a receipt is a promise: blob fsynced, row committed, in this order.

Every step can be repeated, and a crash between any two of them leaves something that
announcing or sending again completes. ``recover`` completes what it can on start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from barnraise.errors import BarnraiseError, OversizedUpdateError, ReplayedMessageError
from barnraise.message import Signed
from barnraise.protocol import Receipt, UpdateEnvelope, UploadStatus
from barnraise.releases.store import BlobStore
from barnraise.team_messages import TeamShare
from coordinator.admission import Admit, Already, UpdateFacts, decide_update, require_unused
from coordinator.gateway.keyring import Keyring
from coordinator.gateway.staging import StagedUpload, Staging
from coordinator.gateway.state import GatewayState
from coordinator.ledger import LeaseRow, Ledger, UpdateRow
from coordinator.ledger.events import UpdateReceived
from coordinator.plausible import Counted, Pace, Stated, Work, count_tokens
from coordinator.team_admission import InTeam, MemberFacts, count_together, decide_in_team

__all__ = ["Intake"]

PIECE_BYTES = 256 * 1024
ROUNDS_COMPARED = 3
FASTEST_S = 0.001  # what the clock can tell apart

_log = logging.getLogger("barnraise.gateway")


class Intake:
    """Uploads of one run. Blocking work happens on threads, one request at a time per update."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._keyring = Keyring(state)
        self._staging = Staging(state.folder.staging)
        self._store = BlobStore(state.folder.private)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def announce(self, signed: Signed) -> UploadStatus:
        """Admit an update, or say how far its upload is.

        Raises:
            BadSignatureError, UnknownFieldError: not a signed envelope.
            MessageError, UpdateError: not admitted, see :func:`coordinator.admission.decide_update`.
            DiskFullError: no space left.
        """
        envelope = await run_in_threadpool(signed.open, UpdateEnvelope)
        await self._drop_expired()
        async with self._lock(envelope.update_digest):
            return await run_in_threadpool(self._announce, signed, envelope)

    async def receive(self, digest: str, offset: int, length: int | None, body: AsyncIterator[bytes]) -> UploadStatus:
        """Store bytes of an announced update, from ``offset`` on; with all of them there, take it in.

        Args:
            length: bytes that the request announces; None when it does not say.

        Raises:
            BlobMissingError: the update was not announced.
            OffsetMismatchError: ``offset`` is not where the stored bytes end.
            OversizedUpdateError: more bytes than announced in the envelope; the piece that has them is not kept.
            VerificationError: all bytes are there and are not the update; they are dropped.
            DiskFullError: no space left; what is stored stays.
        """
        async with self._lock(digest):
            known = await run_in_threadpool(self._state.ledger.update, digest)
            if known is not None:
                return self._received(known, known.contributor)
            upload = await run_in_threadpool(self._staging.require, digest)
            if offset == upload.offset and length is not None and offset + length > upload.size_bytes:
                raise OversizedUpdateError(f"{offset + length} bytes for an update of {upload.size_bytes}")
            await self._append_all(upload, offset, body)
            return await run_in_threadpool(self._progress, upload)

    def recover(self) -> int:
        """Take in the uploads that a crash interrupted after their last byte; how many there were.

        Call before serving, while nobody uploads.
        """
        completed = 0
        for upload in self._staging.all():
            if upload.offset == upload.size_bytes:
                try:
                    self._progress(upload)
                    completed += 1
                except BarnraiseError as error:
                    _log.warning("an interrupted upload was not taken in: %s", error)
        return completed

    async def _drop_expired(self) -> None:
        """Forget incomplete uploads whose lease is over, except one that is just being written."""
        for upload in await run_in_threadpool(self._expired):
            lock = self._lock(upload.digest)
            if not lock.locked():
                async with lock:
                    await run_in_threadpool(upload.drop)

    def _expired(self) -> list[StagedUpload]:
        now_ms = self._state.now_ms()
        leases = ((upload, self._state.ledger.lease(upload.lease_id)) for upload in self._staging.all())
        return [upload for upload, lease in leases if lease is None or now_ms >= lease.expires_at_ms]

    def _lock(self, digest: str) -> asyncio.Lock:
        lock = self._locks.get(digest)
        if lock is None:
            lock = self._locks[digest] = asyncio.Lock()
        return lock

    async def _append_all(self, upload: StagedUpload, offset: int, body: AsyncIterator[bytes]) -> None:
        """Write a body as it comes; of one that breaks off, what did come stays."""
        buffer = bytearray()
        try:
            async for piece in body:
                buffer += piece
                if len(buffer) >= PIECE_BYTES:
                    offset = await run_in_threadpool(upload.append, offset, bytes(buffer))
                    buffer.clear()
        except ClientDisconnect:
            await run_in_threadpool(upload.append, offset, bytes(buffer))
            raise
        await run_in_threadpool(upload.append, offset, bytes(buffer))

    def _announce(self, signed: Signed, envelope: UpdateEnvelope) -> UploadStatus:
        contributor = self._keyring.in_use(signed.key).contributor
        facts = self._facts(envelope, contributor)
        match decide_update(envelope, contributor, facts, self._state.policy, now_ms=self._state.now_ms()):
            case Already(update) | InTeam(update):
                return self._received(update, contributor)
            case Admit():
                return self._progress(self._staging.begin(signed, envelope))

    def _facts(self, envelope: UpdateEnvelope, contributor: str) -> UpdateFacts:
        ledger = self._state.ledger
        whose = ledger.keys.contributor_of
        staged = {upload.digest: whose(upload.envelope.key) for upload in self._staging.all()}
        uploader = staged.pop(envelope.update_digest, contributor)
        ban, lease = ledger.ban(contributor), ledger.lease(envelope.lease_id)
        return UpdateFacts(
            known=ledger.update(envelope.update_digest),
            lease=lease,
            round=ledger.round(envelope.round),
            nonce_subject=ledger.nonce_subject(contributor, envelope.nonce),
            uploader=uploader,
            pending=list(staged.values()).count(contributor) + ledger.unchecked_updates(contributor),
            banned=ban.reason if ban else None,
            team=tuple(self._member(signed) for signed in envelope.team),
            in_team=self._in_team(lease, contributor),
        )

    def _member(self, signed: Signed) -> MemberFacts:
        """A share, and what the ledger knows of its member; a share that is not signed is refused."""
        ledger, share = self._state.ledger, signed.open(TeamShare)
        contributor = self._keyring.in_use(signed.key).contributor
        ban = ledger.ban(contributor)
        return MemberFacts(share, contributor, ledger.lease(share.lease_id), ban.reason if ban else None)

    def _in_team(self, lease: LeaseRow | None, contributor: str) -> InTeam | None:
        """The update of a team that has used up a contributor's lease."""
        ledger, brought = self._state.ledger, lease.update_digest if lease is not None else None
        members = ledger.members(brought)[brought] if brought is not None else ()
        return decide_in_team(lease, ledger.update(brought) if brought is not None else None, members, contributor)

    def _progress(self, upload: StagedUpload) -> UploadStatus:
        """How far an upload is; a complete one is taken in first."""
        if upload.offset < upload.size_bytes:
            return UploadStatus(digest=upload.digest, offset=upload.offset, size_bytes=upload.size_bytes)
        try:
            require_unused(self._state.ledger.lease(upload.lease_id), upload.digest)
            upload.settle(self._store)
            row = self._recorded(upload)
        except ReplayedMessageError as error:  # meanwhile a team's update came, or one of a member of this one
            return self._too_late(upload, error)
        upload.drop()
        return self._received(row, row.contributor)

    def _too_late(self, upload: StagedUpload, error: ReplayedMessageError) -> UploadStatus:
        """Another update has used up the lease: the receipt for that, if the contributor's work is in it.

        Raises:
            ReplayedMessageError: it is not.
        """
        upload.drop()
        contributor = self._state.ledger.keys.contributor_of(upload.envelope.key)
        found = self._in_team(self._state.ledger.lease(upload.lease_id), contributor)
        if found is None:
            raise error
        return self._received(found.update, contributor)

    def _recorded(self, upload: StagedUpload) -> UpdateRow:
        ledger, digest = self._state.ledger, upload.digest
        known = ledger.update(digest)
        if known is None:
            whose, now_ms = ledger.keys.contributor_of, self._state.now_ms()
            envelope, contributor = UpdateEnvelope.read(upload.envelope.body), whose(upload.envelope.key)
            shares = [(TeamShare.read(one.body), whose(one.key)) for one in envelope.team]
            of_each = [self._counted(share, member, now_ms) for share, member in shares]
            counted = count_together(of_each) if shares else self._counted(envelope, contributor, now_ms)
            team = [
                {"contributor": member, "lease_id": share.lease_id, "tokens": counts.tokens, "steps": counts.steps}
                for (share, member), counts in zip(shares, of_each, strict=True)
            ]
            event = UpdateReceived(
                digest=digest,
                contributor=contributor,
                lease_id=envelope.lease_id,
                round=envelope.round,
                base_digest=envelope.base_digest,
                size_bytes=envelope.size_bytes,
                tokens=counted.tokens,
                steps=counted.steps,
                envelope=upload.envelope.model_dump(mode="json"),
                team=team,
            )
            ledger.record(event, at_ms=now_ms)
            known = ledger.update(digest)
        assert known is not None
        return known

    def _counted(self, said: UpdateEnvelope | TeamShare, contributor: str, now_ms: int) -> Counted:
        """What of the tokens and steps that are stated counts, recorded with the update once and for all."""
        ledger = self._state.ledger
        lease = ledger.lease(said.lease_id)
        assert lease is not None, "an update without a lease is not admitted"
        stated = Stated(said.tokens, said.examples, said.steps)
        took_s = max((now_ms - lease.issued_at_ms) / 1000, FASTEST_S)
        return count_tokens(stated, Work.of(self._state.config), took_s, _paces(ledger, lease.round), contributor)

    def _received(self, row: UpdateRow, contributor: str) -> UploadStatus:
        """The receipt for an update, to one of those whose work is in it."""
        receipt = Receipt(
            run=self._state.config.name,
            update_digest=row.digest,
            contributor=self._state.ledger.keys.key_of(contributor),
            round=row.round,
            size_bytes=row.size_bytes,
            received_at_ms=row.received_at_ms,
        )
        signed = Signed.make(receipt, self._state.identity)
        return UploadStatus(digest=row.digest, offset=row.size_bytes, size_bytes=row.size_bytes, receipt=signed)


def _paces(ledger: Ledger, round_number: int) -> list[Pace]:
    """How fast the updates of the last rounds came, by what was counted of them."""
    first = max(1, round_number - ROUNDS_COMPARED)
    rounds = range(first, round_number + 1)
    leased_at_ms = {
        (lease.update_digest, lease.contributor): lease.issued_at_ms
        for number in rounds
        for lease in ledger.leases(number)
    }
    return [
        Pace(row.contributor, row.tokens / max((row.received_at_ms - leased_at_ms[whose]) / 1000, FASTEST_S))
        for row in ledger.contributions(first)
        if (whose := (row.digest, row.contributor)) in leased_at_ms and row.state != "rejected"
    ]
