"""What a source's index leads to, every byte verified: blobs are named by their digest.

Blobs go through a store, so that a transfer which was interrupted goes on where it ended and
what is there already is not fetched again.
"""

from __future__ import annotations

from barnraise.digest import digest_file
from barnraise.errors import VerificationError
from barnraise.protocol import BlobRef
from barnraise.releases.durable import make_folder
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.manifest import Manifest, read_manifest
from barnraise.releases.source import MANIFEST_MAX_BYTES, ReleaseSource
from barnraise.releases.store import BlobStore

__all__ = ["Catalog"]


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
        """The manifest of a listed release.

        Raises:
            VerificationError: it is not, or it describes something else than the index does.
        """
        what = f"the manifest of {entry.version}"
        if entry.manifest.size_bytes > MANIFEST_MAX_BYTES:
            raise VerificationError(f"{what} has {entry.manifest.size_bytes:,} bytes; that is not one of ours")
        manifest = read_manifest(self.blob(entry.manifest), what)
        found = (manifest.name, manifest.version, manifest.model_digest, manifest.keyframe, manifest.patch)
        if found != (self.index.name, entry.version, entry.model_digest, entry.keyframe, entry.patch):
            raise VerificationError(f"{what} describes another release than the index does; use another mirror")
        return manifest
