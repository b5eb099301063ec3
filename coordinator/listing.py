"""The index as it follows from the ledger: what is published, and what a check compares that with."""

from __future__ import annotations

from barnraise.protocol import BlobRef
from barnraise.releases.index import DerivedEntry, IndexEntry, ReleaseIndex
from barnraise.releases.store import BlobStore
from coordinator.ledger import DerivedRow, Ledger, ReleaseRow

__all__ = ["index_of"]


def index_of(ledger: Ledger, public: BlobStore) -> ReleaseIndex:
    """All releases, channels and derived models of a run. The same ledger gives the same index.

    Args:
        public: where the manifests lie.

    Raises:
        BlobMissingError: a manifest is not there.
    """
    run = ledger.run()
    assert run is not None, "a run is created before anything is released"
    return ReleaseIndex(
        name=run.name,
        releases=tuple(_entry(release, public) for release in ledger.releases()),
        channels=ledger.channels(),
        derived=tuple(_derived(row) for row in ledger.derived()),
    )


def _entry(release: ReleaseRow, public: BlobStore) -> IndexEntry:
    return IndexEntry(
        version=release.version,
        model_digest=release.model_digest,
        manifest=BlobRef(digest=release.manifest_digest, size_bytes=public.size(release.manifest_digest)),
        parent=release.parent,
        keyframe=BlobRef.read(release.keyframe) if release.keyframe else None,
        patch=BlobRef.read(release.patch) if release.patch else None,
        yanked=release.yanked,
    )


def _derived(row: DerivedRow) -> DerivedEntry:
    return DerivedEntry(
        name=row.name,
        version=row.version,
        model_digest=row.model_digest,
        manifest=BlobRef(digest=row.manifest_digest, size_bytes=row.manifest_bytes),
        parent_name=row.parent_name,
        parent_version=row.parent_version,
    )
