"""The index as it follows from the ledger: what is published, and what a check compares that with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from barnraise.message import BlobRef
from barnraise.releases.index import DerivedEntry, IndexEntry, ReleaseIndex
from barnraise.releases.store import BlobStore
from coordinator.ledger import DerivedRow, Ledger, ReleaseRow

__all__ = ["accepted_in", "index_of"]

REASON_MAX = 4096


def index_of(ledger: Ledger, public: BlobStore) -> ReleaseIndex:
    """All releases, channels and derived models of a run. The same ledger gives the same index.

    Args:
        public: where the manifests lie.

    Raises:
        BlobMissingError: a manifest is not there.
    """
    run = ledger.run()
    assert run is not None, "a run is created before anything is released"
    channels = ledger.channel_rows()
    reverted = {row.version: row.reverted_in for row in ledger.updates(state="reverted")}
    return ReleaseIndex(
        name=run.name,
        releases=tuple(_entry(release, public, reverted.get(release.version)) for release in ledger.releases()),
        channels={row.channel: row.version for row in channels},
        moved={row.channel: row.reason[:REASON_MAX] for row in channels if row.reason},
        derived=tuple(_derived(row) for row in ledger.derived()),
    )


def _entry(release: ReleaseRow, public: BlobStore, reverted_in: str | None) -> IndexEntry:
    return IndexEntry(
        version=release.version,
        model_digest=release.model_digest,
        manifest=BlobRef(digest=release.manifest_digest, size_bytes=public.size(release.manifest_digest)),
        parent=release.parent,
        keyframe=BlobRef.read(release.keyframe) if release.keyframe else None,
        patch=BlobRef.read(release.patch) if release.patch else None,
        yanked=release.yanked,
        reverts=tuple(release.reverts or ()),
        reverted_in=reverted_in,
        accepted=accepted_in(release.summary),
    )


def accepted_in(summary: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Test -> why its getting worse was accepted, of a release's numbers."""
    return {name: row["accepted"] for name, row in sorted(summary.items()) if row.get("accepted") is not None}


def _derived(row: DerivedRow) -> DerivedEntry:
    return DerivedEntry(
        name=row.name,
        version=row.version,
        model_digest=row.model_digest,
        manifest=BlobRef(digest=row.manifest_digest, size_bytes=row.manifest_bytes),
        parent_name=row.parent_name,
        parent_version=row.parent_version,
    )
