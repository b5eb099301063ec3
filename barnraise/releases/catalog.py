"""A source's releases, every byte of them verified: the index by its signature, blobs by their digest.

Blobs go through a store, so that a transfer which was interrupted goes on where it ended and
what is there already is not fetched again.
"""

from __future__ import annotations

import json
from typing import TypeVar

from barnraise.digest import digest_file
from barnraise.errors import MessageError, VerificationError
from barnraise.protocol import BlobRef, Message, Signed
from barnraise.releases.durable import make_folder
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.manifest import Manifest
from barnraise.releases.source import MANIFEST_MAX_BYTES, ReleaseSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import KnownRuns

__all__ = ["Catalog", "open_signed", "read_index"]

M = TypeVar("M", bound=Message)


def open_signed(data: bytes | memoryview, message: type[M], what: str, *, key: str | None) -> tuple[M, str]:
    """A signed message from its bytes, and the key that signed it.

    Args:
        what: how to name it in an error.
        key: who must have signed it; None takes anybody.

    Raises:
        VerificationError: not such a message, or not by ``key``.
    """
    try:
        signed = Signed.read(json.loads(bytes(data)))
        body = signed.open(message)
    except (ValueError, RecursionError, MessageError) as error:
        why = str(error) if isinstance(error, MessageError) else "it is not JSON"
        raise VerificationError(f"{what} is not acceptable: {why}. Use another mirror") from error
    if key is not None and signed.key != key:
        raise VerificationError(
            f"{what} is signed by key {signed.key[:16]}.., expected {key[:16]}..; nothing of it was used"
        )
    return body, signed.key


def read_index(
    source: ReleaseSource, *, pinned_key: str | None = None, known: KnownRuns | None = None
) -> tuple[ReleaseIndex, list[str]]:
    """Fetch a source's index, and check who signed it. Nothing is remembered.

    Args:
        pinned_key: the coordinator's key. Without one it is the source's own (a run folder), or
            the one that was pinned when the run was first seen.
        known: where keys are pinned, by default in the user's configuration.

    Returns:
        The index, and warnings.

    Raises:
        VerificationError: not signed by the key that it should be signed by.
    """
    what = f"the index of {source.label}"
    expected = pinned_key or source.key
    index, key = open_signed(source.index(), ReleaseIndex, what, key=expected)
    if index.coordinator_key != key:
        raise VerificationError(f"{what} names another key than the one that signed it; use another mirror")
    if expected:
        return index, []
    return index, (known or KnownRuns.of_user()).check(index.name, key, index.serial)


class Catalog:
    """An index that was checked, and what it leads to.

    Attributes:
        index: the releases.
        store: blobs that were fetched and verified.
        fetched_bytes: bytes read from the source so far, the index apart.
    """

    def __init__(self, source: ReleaseSource, index: ReleaseIndex, store: BlobStore) -> None:
        self.index = index
        self.store = store
        self.fetched_bytes = 0
        self._source = source

    def blob(self, ref: BlobRef) -> memoryview:
        """A blob, fetched if need be, and verified either way.

        Raises:
            VerificationError: the source sent something else; it is discarded.
            BlobMissingError, NetworkError: the source does not have it, or cannot be reached.
            DiskFullError: no space left.
        """
        if not self.store.has(ref.digest) or not self._intact(ref):
            self._fetch(ref)
        return self.store.map(ref.digest)

    def _intact(self, ref: BlobRef) -> bool:
        if digest_file(self.store.path(ref.digest)) == ref.digest:
            return True
        self.store.delete(ref.digest)
        return False

    def _fetch(self, ref: BlobRef) -> None:
        partial = self.store.root / "partial" / ref.digest[3:]
        make_folder(partial.parent)
        resumed = partial.exists()
        self.fetched_bytes += self._source.fetch(ref, partial)
        found = digest_file(partial) if partial.exists() else "nothing"
        if found != ref.digest and resumed:  # what was left of an earlier transfer may be at fault: once more, whole
            partial.unlink()
            self._fetch(ref)
            return
        if found != ref.digest:
            partial.unlink(missing_ok=True)
            raise VerificationError(
                f"{self._source.label} sent {found[:15]}.. for blob {ref.digest[:15]}.. ({ref.size_bytes:,} bytes); "
                "nothing was installed. Use another mirror"
            )
        self.store.adopt(partial, ref.digest)

    def manifest(self, entry: IndexEntry) -> Manifest:
        """The manifest of a listed release, signed by the same key as the index.

        Raises:
            VerificationError: it is not, or it describes something else than the index does.
        """
        what = f"the manifest of {entry.version}"
        if entry.manifest.size_bytes > MANIFEST_MAX_BYTES:
            raise VerificationError(f"{what} has {entry.manifest.size_bytes:,} bytes; that is not one of ours")
        manifest, _ = open_signed(self.blob(entry.manifest), Manifest, what, key=self.index.coordinator_key)
        found = (manifest.name, manifest.version, manifest.model_digest, manifest.keyframe, manifest.patch)
        if found != (self.index.name, entry.version, entry.model_digest, entry.keyframe, entry.patch):
            raise VerificationError(f"{what} describes another release than the index does; use another mirror")
        return manifest
