"""Check a folder of backups by itself: whether each of them could be restored, without the run and without room for it.

    backups     every list is as it was written, its pieces give a ledger in order, its keys are there
    references  whatever a list names is there
    blobs       and is what its name says

Blobs that no list names, such as those of a backup that was killed, are not looked at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from barnraise.digest import digest_file
from barnraise.errors import BackupError
from coordinator.backup_store import BackupList, BackupStore
from coordinator.findings import Checked, Finding
from coordinator.references import Reference

__all__ = ["check_backups"]

AGAIN = "back the run up again, or use another copy of the backups"


def check_backups(store: BackupStore) -> Checked:
    """Check every backup in a folder."""
    findings: list[Finding] = []
    lists: dict[str, BackupList] = {}
    for path in store.all():
        try:
            lists[path.stem] = store.read(path)
        except BackupError as error:
            findings.append(Finding("backups", error.reason))
    references = _references(lists)
    size_bytes = 0
    damaged: set[str] = set()
    for one in references:
        path = store.blobs.path(one.digest)
        if not path.is_file():
            findings.append(Finding("references", f"{one.why} is missing: {one.digest[:15]}..; {AGAIN}", one))
        elif (found := digest_file(path)) != one.digest:
            findings.append(Finding("blobs", f"{path} is damaged: {one.why}, is {found[:15]}..; {AGAIN}", one))
        else:
            size_bytes += path.stat().st_size
            continue
        damaged.add(one.digest)
    for name, made in lists.items():
        findings += _whole(store, name, made, damaged)
    return Checked(len(references) - len(damaged), size_bytes, len(references), tuple(findings))


def _references(lists: dict[str, BackupList]) -> list[Reference]:
    """Every blob that a backup names, once, with the newest backup that does."""
    found: dict[str, Reference] = {}
    for name, made in lists.items():
        parts = {"a piece of the ledger": made.ledger, "a public blob": made.public, "a private blob": made.private}
        named = [(what, ref) for what, refs in parts.items() for ref in refs]
        for what, ref in (*named, *((file.path, file.blob) for file in made.files)):
            found[ref.digest] = Reference("public", ref.digest, ref.size_bytes, f"{what} of backup {name}")
    return list(found.values())


def _whole(store: BackupStore, name: str, made: BackupList, damaged: set[str]) -> Iterator[Finding]:
    """What of a backup is not told by looking at its blobs one by one."""
    for file in made.keys:
        try:
            store.key(file)
        except BackupError as error:
            yield Finding("backups", f"{name}: {error.reason}; {AGAIN}")
    if damaged.isdisjoint(ref.digest for ref in made.ledger):
        with tempfile.TemporaryDirectory(prefix="barnraise-fsck-") as temporary:
            try:
                store.write_ledger(made, Path(temporary) / "ledger.sqlite")
            except BackupError as error:
                yield Finding("backups", f"{name}: {error.reason}; {AGAIN}")
