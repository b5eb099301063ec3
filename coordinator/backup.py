"""Backups of a run, consistent while it runs, each costing only what is new.

The order makes it consistent. First the signed metadata, then what maintainers signed and the keys
that go with it, then the ledger by SQLite's own backup, then the blobs that this ledger names: each
names only what was there before it, and a restored coordinator writes its index anew from the ledger
anyway. A backup exists when its list is in ``backups/``, which is written last and at once; the folder
is drawn in :mod:`coordinator.backup_store`.

What an earlier backup has copied is compared with its digest before it counts as a part of this one:
what rotted meanwhile is replaced, in the earlier ones too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from barnraise.config import load_run_config
from barnraise.digest import digest_bytes
from barnraise.errors import BackupError, BlobMissingError
from barnraise.message import BlobRef
from barnraise.releases.durable import disk_full_translated, make_folder, write_all, write_temporary
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder, locked_file
from coordinator.backup_store import BackupFile, BackupList, BackupStore
from coordinator.ledger import Ledger
from coordinator.ledger.file import copy_file
from coordinator.references import mentioned, required
from coordinator.vitals import write_status

__all__ = ["BackupReport", "backup"]

PIECE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup came to.

    Attributes:
        added_bytes: that were not in the folder before; ``total_bytes``: of the whole run.
        replaced: how many blobs of earlier backups had rotted and are whole again.
    """

    path: Path
    blobs: int
    total_bytes: int
    added_bytes: int
    with_keys: bool
    replaced: int
    missing: tuple[str, ...]


def backup(
    folder: RunFolder, dest: Path, *, now_ms: int, with_keys: bool = False, by_size: bool = False
) -> BackupReport:
    """Back up a run, which may be running.

    Args:
        dest: a new folder, or one with earlier backups of this run.
        with_keys: private keys too; whoever has them can sign as the coordinator.
        by_size: take what earlier backups copied for whole when it has its size, and read none of it again.

    Raises:
        BackupError: ``dest`` is something else.
        FolderLockedError: another backup goes there.
        NotARunFolderError, StorageError: no run, or a ledger that cannot be read.
        DiskFullError: no space left; earlier backups are untouched, the next try goes on.
    """
    name = load_run_config(folder.require().config).name
    store = BackupStore(dest.absolute())
    if dest.absolute().is_relative_to(folder.root.absolute()):
        raise BackupError(f"{dest} lies in the run that it would be a backup of; name a folder elsewhere")
    store.open(name)
    with locked_file(store.root / "lock", f"another backup already goes to {store.root}"), disk_full_translated(dest):
        store.blobs.sweep()
        copier = _Copier(store.blobs, by_size)
        files = list(_published(folder, copier))
        offline, key_files = _offline_with_keys(folder)
        files += [_copied(folder, path, data, copier) for path, data in offline.items()]
        files += _settings(folder, copier)
        ledger, ledger_digest, references = _ledger(folder, copier)
        public, private = _blobs(folder, references, copier)
        keys = _keys(folder, key_files, store, copier) if with_keys else ()
        made = BackupList(
            run=name,
            at_ms=now_ms,
            ledger=ledger,
            ledger_digest=ledger_digest,
            public=public,
            private=private,
            files=tuple(files),
            keys=keys,
            missing=tuple(copier.missing),
        )
        path = store.write(made)
        with suppress(OSError):  # of a run on a disk that cannot be written; the backup is there
            write_status(folder.status / "backup.json", {"at_ms": now_ms, "added_bytes": copier.added_bytes})
    return BackupReport(
        path, len(copier.sizes), copier.total_bytes, copier.added_bytes, bool(keys), copier.replaced, made.missing
    )


@dataclass
class _Copier:
    """Copies into a backup's blobs what is not there or not whole, and counts."""

    blobs: BlobStore
    by_size: bool
    sizes: dict[str, int] = field(default_factory=dict)
    added_bytes: int = 0
    replaced: int = 0
    missing: list[str] = field(default_factory=list)

    @property
    def total_bytes(self) -> int:
        return sum(self.sizes.values())

    def data(self, data: bytes | memoryview, digest: str | None = None) -> BlobRef:
        """Bytes that are at hand; ``digest`` where it is known."""
        digest = digest or digest_bytes(data)
        if not self._has(digest, len(data)):
            if self.blobs.has(digest):
                self.blobs.delete(digest)
                self.replaced += 1
            else:
                self.added_bytes += len(data)
            self.blobs.put(data)
        return self._counted(digest, len(data))

    def blob(self, source: BlobStore, digest: str, why: str) -> BlobRef | None:
        """A blob of a run's store; None, and noted, where it is not what its name says."""
        data = None
        with suppress(BlobMissingError):
            data = source.map(digest)
        if self._has(digest, None if data is None else len(data)):
            return self._counted(digest, self.blobs.size(digest))
        if data is None:
            self.missing.append(f"{why} is missing ({digest})")
            return None
        if digest_bytes(data) != digest:
            self.missing.append(f"{why} is damaged ({digest})")
            return None
        return self.data(data, digest)

    def _has(self, digest: str, size_bytes: int | None) -> bool:
        """Whether a blob is there and whole; what this backup has compared or copied already is."""
        if digest in self.sizes:
            return True
        if not self.blobs.has(digest):
            return False
        if self.by_size and size_bytes is not None:
            return self.blobs.size(digest) == size_bytes
        return digest_bytes(self.blobs.map(digest)) == digest

    def _counted(self, digest: str, size_bytes: int) -> BlobRef:
        self.sizes[digest] = size_bytes
        return BlobRef(digest=digest, size_bytes=size_bytes)


def _published(folder: RunFolder, copier: _Copier) -> Iterator[BackupFile]:
    """Metadata and lists, and their timestamp before all: what that leads to was written before it."""
    public = folder.public
    names = [public / "metadata" / "timestamp.json"]
    names += [path for part in ("metadata", "targets") for path in sorted((public / part).glob("*.json"))]
    for path, data in _contents(names).items():  # without old versions that were just forgotten
        yield _copied(folder, path, data, copier)


def _offline_with_keys(folder: RunFolder) -> tuple[dict[Path, bytes], dict[Path, bytes]]:
    """What maintainers signed, and the private keys of that moment: while keys are replaced, it is read again.

    A new key lies in the folder before it is signed for, and an old one until that was published.
    """
    while True:
        before = _contents([folder.offline])
        keys = _contents(sorted(folder.keys.glob("*.key")))
        if _contents([folder.offline]) == before:
            return before, keys


def _settings(folder: RunFolder, copier: _Copier) -> Iterator[BackupFile]:
    """The run's configuration, and the scores that were measured."""
    for path, data in _contents(
        [folder.config, folder.model, *sorted((folder.private / "scores").glob("*.json"))]
    ).items():
        yield _copied(folder, path, data, copier)


def _contents(paths: Iterable[Path]) -> dict[Path, bytes]:
    """Of those that are there."""
    found = {}
    for path in paths:
        with suppress(FileNotFoundError):
            found[path] = path.read_bytes()
    return found


def _copied(folder: RunFolder, path: Path, data: bytes, copier: _Copier) -> BackupFile:
    return BackupFile(path=path.relative_to(folder.root).as_posix(), blob=copier.data(data))


def _ledger(folder: RunFolder, copier: _Copier) -> tuple[tuple[BlobRef, ...], str, _References]:
    """The ledger as it is at one moment, in pieces, and what it names."""
    with tempfile.TemporaryDirectory(prefix="barnraise-backup-") as temporary:
        path = Path(temporary) / "ledger.sqlite"
        copy_file(folder.ledger, path)
        data = path.read_bytes()
        pieces = tuple(copier.data(data[at : at + PIECE_BYTES]) for at in range(0, len(data), PIECE_BYTES))
        ledger = Ledger.open_reading(path)
        try:
            public = BlobStore(folder.public)
            needed: dict[tuple[str, str], str] = {(one.place, one.digest): one.why for one in required(ledger, public)}
            return pieces, digest_bytes(data), _References(needed, mentioned(ledger, public, ()))
        finally:
            ledger.close()


@dataclass(frozen=True)
class _References:
    """Place and digest of what must be there -> what it is; and every digest that is mentioned."""

    needed: Mapping[tuple[str, str], str]
    mentioned: frozenset[str]


def _blobs(
    folder: RunFolder, references: _References, copier: _Copier
) -> tuple[tuple[BlobRef, ...], tuple[BlobRef, ...]]:
    """Copy what is needed, and what else is mentioned and there."""
    copied = []
    for place, root in (("public", folder.public), ("private", folder.private)):
        store = BlobStore(root)
        wanted = {digest: why for (where, digest), why in references.needed.items() if where == place}
        there = (blob.digest for blob in store.stored() if blob.digest in references.mentioned)
        for digest in there:
            wanted.setdefault(digest, f"blob {digest[:15]}..")
        found = (copier.blob(store, digest, why) for digest, why in sorted(wanted.items()))
        copied.append(tuple(ref for ref in found if ref is not None))
    return copied[0], copied[1]


def _keys(
    folder: RunFolder, files: Mapping[Path, bytes], store: BackupStore, copier: _Copier
) -> tuple[BackupFile, ...]:
    """Private keys, readable by their owner only, named by what they are."""
    make_folder(store.keys)
    store.keys.chmod(0o700)
    return tuple(_key(folder, path, data, store, copier) for path, data in files.items())


def _key(folder: RunFolder, path: Path, data: bytes, store: BackupStore, copier: _Copier) -> BackupFile:
    digest = digest_bytes(data)
    target = store.key_path(digest)
    there = _contents([target])
    if there.get(target) != data:
        copier.replaced += len(there)
        copier.added_bytes += 0 if there else len(data)
        temporary = write_temporary(store.keys, lambda descriptor: write_all(descriptor, data))
        temporary.chmod(0o600)
        temporary.replace(target)
    blob = BlobRef(digest=digest, size_bytes=len(data))
    return BackupFile(path=path.relative_to(folder.root).as_posix(), blob=blob)
