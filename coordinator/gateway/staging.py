"""Uploads that are not complete: three names below ``staging/`` for each, and what they mean after a crash.

HEX.json   the signed envelope, admitted; written last, removed first
HEX.part   the bytes so far; always exactly the beginning of the update
HEX.full   all bytes, digest checked

.json and .part          goes on at the size of .part
.json and .full          verified, to be moved into the blob store
.json alone              moved into the blob store, its row may be missing
.part alone              a leftover; announcing the update again starts it anew
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from barnraise.digest import digest_file, is_digest
from barnraise.errors import (
    BlobMissingError,
    MessageError,
    OffsetMismatchError,
    OversizedUpdateError,
    VerificationError,
)
from barnraise.message import Signed
from barnraise.protocol import UpdateEnvelope
from barnraise.releases.durable import disk_full_translated, fsync_folder, replace_file, write_all
from barnraise.releases.store import BlobStore

__all__ = ["StagedUpload", "Staging"]


@dataclass(frozen=True, slots=True)
class StagedUpload:
    """One upload in ``folder``. Whoever uses it holds the update's lock."""

    folder: Path
    envelope: Signed
    digest: str
    size_bytes: int

    @property
    def lease_id(self) -> str:
        return str(self.envelope.body["lease_id"])

    @property
    def part(self) -> Path:
        return self.folder / f"{self.digest[3:]}.part"

    @property
    def full(self) -> Path:
        return self.folder / f"{self.digest[3:]}.full"

    @property
    def offset(self) -> int:
        """How many bytes are stored."""
        try:
            return self.part.stat().st_size
        except FileNotFoundError:
            return self.size_bytes

    def append(self, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Write ``data`` at ``offset``, which must be where the stored bytes end; the new end.

        Raises:
            OffsetMismatchError: it is not; the message says where to go on.
            OversizedUpdateError: more bytes than the envelope announced; none of these are written.
            DiskFullError: no space left; what was written stays and can be continued.
        """
        stored = self.offset
        if offset != stored:
            raise OffsetMismatchError(f"{stored} of {self.size_bytes} bytes are stored; continue with offset={stored}")
        if stored + len(data) > self.size_bytes:
            raise OversizedUpdateError(
                f"the envelope announced {self.size_bytes} bytes and more came; the first {stored} were kept"
            )
        with disk_full_translated(self.folder):
            descriptor = os.open(self.part, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                write_all(descriptor, data)
            finally:
                os.close(descriptor)
        return stored + len(data)

    def settle(self, store: BlobStore) -> None:
        """Check the digest of a complete upload and move it into ``store``; again after a crash is fine.

        Raises:
            VerificationError: the bytes are not what was announced; the upload is dropped.
            DiskFullError: no space left; it can be tried again.
        """
        if self.part.exists():
            found = digest_file(self.part)
            if found != self.digest:
                self.drop()
                raise VerificationError(
                    f"the {self.size_bytes} bytes are {found[:15]}.., the envelope says {self.digest[:15]}..; "
                    "they were dropped. Announce the update and send it again."
                )
            self.part.rename(self.full)
        if self.full.exists():
            store.adopt(self.full, self.digest)

    def drop(self) -> None:
        """Forget the upload; the envelope goes first, so that no half of it can be continued."""
        for suffix in (".json", ".part", ".full"):
            (self.folder / f"{self.digest[3:]}{suffix}").unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Staging:
    """All incomplete uploads of a run, in ``folder``."""

    folder: Path

    def begin(self, signed: Signed, envelope: UpdateEnvelope) -> StagedUpload:
        """Make room for an admitted update, or find what is stored of it already.

        Raises:
            DiskFullError: no space left; nothing was stored.
        """
        found = self.find(envelope.update_digest)
        if found is None or found.size_bytes != envelope.size_bytes:
            self._start(envelope.update_digest)
        if found is None or found.envelope != signed:
            self._write_envelope(signed, envelope.update_digest)
        return StagedUpload(self.folder, signed, envelope.update_digest, envelope.size_bytes)

    def require(self, digest: str) -> StagedUpload:
        """The upload of that digest.

        Raises:
            BlobMissingError: it was not announced, or was dropped.
        """
        found = self.find(digest)
        if found is None:
            raise BlobMissingError("no update of that digest was announced; POST its envelope to /v1/updates first")
        return found

    def find(self, digest: str) -> StagedUpload | None:
        """The upload of that digest; None when there is none, or its envelope cannot be read."""
        if not is_digest(digest):
            return None
        try:
            text = (self.folder / f"{digest[3:]}.json").read_bytes()
        except FileNotFoundError:
            return None
        try:
            signed = Signed.read(json.loads(text))
            return StagedUpload(self.folder, signed, digest, UpdateEnvelope.read(signed.body).size_bytes)
        except (ValueError, MessageError):
            return None

    def all(self) -> list[StagedUpload]:
        """Every upload with an envelope, sorted by digest."""
        found = (self.find(f"b3:{path.stem}") for path in sorted(self.folder.glob("*.json")))
        return [upload for upload in found if upload is not None]

    def _start(self, digest: str) -> None:
        with disk_full_translated(self.folder):
            for suffix in (".json", ".full"):
                (self.folder / f"{digest[3:]}{suffix}").unlink(missing_ok=True)
            (self.folder / f"{digest[3:]}.part").write_bytes(b"")
            fsync_folder(self.folder)

    def _write_envelope(self, signed: Signed, digest: str) -> None:
        replace_file(self.folder / f"{digest[3:]}.json", signed.canonical())
