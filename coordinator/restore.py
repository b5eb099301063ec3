"""Make a run folder again from a backup: all of it or nothing, every byte verified on the way.

Everything is written into a folder beside the target, which then takes the target's name. What
a restore leaves when it is killed, the next one into the same place removes.
"""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from barnraise.errors import BackupError
from barnraise.message import BlobRef
from barnraise.releases.durable import (
    disk_full_translated,
    fsync_folder,
    make_folder,
    write_all,
    write_temporary,
)
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from coordinator.backup_store import BackupFile, BackupList, BackupStore

__all__ = ["RestoreReport", "choose", "restore"]


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """A run folder that was made again.

    Attributes:
        missing: what was missing or damaged already when the backup was made.
    """

    run: str
    backup: Path
    folder: Path
    at_ms: int
    blobs: int
    size_bytes: int
    with_keys: bool
    missing: tuple[str, ...]


def choose(store: BackupStore, wanted: str | None) -> Path:
    """The backup that is meant: the newest, or the one whose name begins so.

    Raises:
        BackupError: no backups there, or none or several of that name.
    """
    if store.run() is None:
        raise BackupError(f"{store.root} holds no backups (no backup.json); name a folder that barnraise backup wrote")
    found = [path for path in store.all() if wanted is None or path.name.startswith(wanted)]
    if not found:
        newest = ", ".join(path.stem for path in store.all()[-4:])
        raise BackupError(f"{store.root} holds no backup {wanted or 'yet'}; the newest are: {newest or 'none'}")
    if wanted is not None and len(found) > 1:
        names = ", ".join(path.stem for path in found[:4])
        raise BackupError(f"{len(found)} backups are called {wanted}..: {names}; write more of the name")
    return found[-1]


def restore(source: Path, folder: RunFolder, wanted: str | None = None) -> RestoreReport:
    """Restore a run.

    Args:
        source: a folder that backups were written to. wanted: how the backup's name begins.
        folder: where to; must not exist, or be empty.

    Raises:
        BackupError: no such backup, one that is not whole any more, or a folder that is in use.
        DiskFullError: no space left; nothing was changed.
    """
    store = BackupStore(source.absolute())
    path = choose(store, wanted)
    made = store.read(path)
    target = folder.root.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise _not_empty(target)
    make_folder(target.parent)
    for left in target.parent.glob(f".{target.name}.restore-*"):
        shutil.rmtree(left, ignore_errors=True)
    staging = RunFolder(target.parent / f".{target.name}.restore-{secrets.token_hex(4)}")
    try:
        with disk_full_translated(target):
            blobs = _filled(store, made, staging)
            _take_name(staging.root, target)
    finally:
        shutil.rmtree(staging.root, ignore_errors=True)
    size_bytes = sum(blobs.values())
    return RestoreReport(made.run, path, target, made.at_ms, len(blobs), size_bytes, bool(made.keys), made.missing)


def _take_name(staging: Path, target: Path) -> None:
    """Give the new folder its name, unless something came to lie there meanwhile."""
    try:
        staging.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
        raise _not_empty(target) from error
    fsync_folder(target.parent)


def _not_empty(target: Path) -> BackupError:
    return BackupError(f"{target} is not empty, and a restore replaces nothing; name a new folder")


def _filled(store: BackupStore, made: BackupList, staging: RunFolder) -> dict[str, int]:
    """As :func:`_fill`; what is not whole says what to do about it."""
    try:
        return _fill(store, made, staging)
    except BackupError as error:
        raise BackupError(
            f"{error.reason}; nothing was restored. Choose an earlier backup with --at, or another copy of the backups"
        ) from error


def _fill(store: BackupStore, made: BackupList, staging: RunFolder) -> dict[str, int]:
    """Write the whole run; digest -> size of all that it is made of."""
    staging.root.mkdir()
    staging.create()
    used = {one.digest: one.size_bytes for one in (*made.ledger, *made.public, *made.private)}
    _put_blobs(store, made.public, BlobStore(staging.public))
    _put_blobs(store, made.private, BlobStore(staging.private), BlobStore(staging.public))
    for file in made.files:
        _write(staging.root / file.path, store.blob(file.blob))
        used[file.blob.digest] = file.blob.size_bytes
    for key in made.keys:
        _write_key(store, key, staging)
    store.write_ledger(made, staging.ledger)
    fsync_folder(staging.root)
    return used


def _put_blobs(store: BackupStore, refs: Iterable[BlobRef], into: BlobStore, beside: BlobStore | None = None) -> None:
    """Copy blobs; one that lies ``beside`` already is shared, as it was in the run."""
    for ref in refs:
        if beside is not None and beside.has(ref.digest):
            into.link_from(beside, ref.digest)
        else:
            into.put(store.blob(ref))


def _write(path: Path, data: bytes | memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_temporary(path.parent, lambda descriptor: write_all(descriptor, data)).replace(path)


def _write_key(store: BackupStore, key: BackupFile, staging: RunFolder) -> None:
    data, target = store.key(key), staging.root / key.path
    temporary = write_temporary(target.parent, lambda descriptor: write_all(descriptor, data))
    temporary.chmod(0o600)
    temporary.replace(target)
