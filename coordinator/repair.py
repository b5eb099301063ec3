"""Mend what a check found: blobs fetched from a mirror, tables made anew from the events.

A blob takes the place of a damaged one only after its digest was compared. What cannot be
mended is left as it is, and the next check finds it again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from barnraise.digest import digest_file
from barnraise.errors import BarnraiseError, UsageError
from barnraise.message import BlobRef
from barnraise.releases.durable import TEMPORARY_SUFFIX, make_folder
from barnraise.releases.source import MANIFEST_MAX_BYTES, ReleaseSource, copy_blob
from barnraise.releases.store import BlobStore, blob_path
from barnraise.run_folder import RunFolder
from coordinator.backup_store import BackupStore
from coordinator.findings import TABLES, Checked, Finding
from coordinator.fsck import fsck
from coordinator.ledger import Ledger
from coordinator.references import Reference

__all__ = ["repair", "repair_all"]


def repair_all(path: Path, source: ReleaseSource | None) -> tuple[Checked, list[str]]:
    """Check, mend, and check again, for as long as that brings something new to light.

    A manifest that was missing hid what it names, so one turn is not always enough.

    Returns:
        What is still not in order, and what was done, as :func:`repair` tells it.

    Raises:
        UsageError: a folder of backups, which the next backup mends.
        Others as :func:`coordinator.fsck.fsck` and :func:`repair`.
    """
    if BackupStore(path).run() is not None:
        raise UsageError(f"{path} holds backups; they are mended by backing the run up again: barnraise backup")
    checked, known, told = fsck(path), set[Finding](), list[str]()
    while new := [finding for finding in checked.findings if finding not in known]:
        known.update(new)
        told += repair(path, new, source)
        checked = fsck(path)
    return checked, told


def repair(path: Path, findings: Sequence[Finding], source: ReleaseSource | None) -> list[str]:
    """Mend what can be mended.

    Args:
        path: a run folder or a mirror. findings: of a check of it, just now.
        source: where blobs are fetched; None where none was named.

    Returns:
        What was done, or why not, one sentence each.

    Raises:
        FolderLockedError: a coordinator works in the folder, and its tables would have to be written.
        DiskFullError: no space left.
    """
    folder = RunFolder(path)
    is_run = folder.config.is_file()
    stores = {
        "public": BlobStore(folder.public if is_run else path),
        "private": BlobStore(folder.private if is_run else path),
    }
    told = [_blob(stores, finding, source) for finding in _public_first(findings)]
    if any(finding.part == TABLES for finding in findings):
        with folder.lock("coordinator"):
            ledger = Ledger.open(folder.ledger)
            try:
                ledger.rebuild()
            finally:
                ledger.close()
        told.append("the ledger's tables were made anew from its events")
    return told


def _public_first(findings: Iterable[Finding]) -> list[Finding]:
    """Those that are about a blob; what is private may then be had from what is public."""
    about = [finding for finding in findings if finding.blob is not None]
    return sorted(about, key=lambda finding: finding.blob is not None and finding.blob.place == "private")


def _blob(stores: dict[str, BlobStore], finding: Finding, source: ReleaseSource | None) -> str:
    wanted = finding.blob
    assert wanted is not None
    store, label = stores[wanted.place], f"{wanted.why} ({wanted.digest[:15]}..)"
    if not finding.needed:
        store.delete(wanted.digest)
        return f"{label} was removed"
    if wanted.place == "private":
        if not _intact(stores["public"], wanted.digest):
            return f"{label} is private, so no mirror has it; restore it from a backup"
        store.delete(wanted.digest)
        store.link_from(stores["public"], wanted.digest)
        return f"{label} was taken from the public blobs"
    if source is None:
        return f"{label} is not mended: name a mirror with --from"
    return _fetched(store, wanted, source, label)


def _intact(store: BlobStore, digest: str) -> bool:
    return store.has(digest) and digest_file(store.path(digest)) == digest


def _fetched(store: BlobStore, wanted: Reference, source: ReleaseSource, label: str) -> str:
    """Fetch into a file of our own; only then does the damaged one go."""
    partial = store.root / "incoming" / f"{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    make_folder(partial.parent)
    try:
        if wanted.size_bytes is None:
            partial.write_bytes(source.read(blob_path(wanted.digest), MANIFEST_MAX_BYTES))
        else:
            copy_blob(source, BlobRef(digest=wanted.digest, size_bytes=wanted.size_bytes), partial)
        found = digest_file(partial) if partial.stat().st_size else "nothing"
        if found != wanted.digest:
            return f"{label} is not mended: {source.label} sent {found[:15]}.."
        store.delete(wanted.digest)
        store.adopt(partial, wanted.digest)
    except BarnraiseError as error:
        return f"{label} is not mended: {error.reason}"
    finally:
        partial.unlink(missing_ok=True)
    return f"{label} was fetched from {source.label}"
