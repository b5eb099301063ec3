"""Backups of a run, consistent while it runs, each costing only what is new.

    DEST/
      backup.json       what this folder is, and of which run
      backups/T-D.json  one a backup: T when it was made, D the first digits of its digest
      blobs/ab/cd..     what backups are made of, each once: a run's blobs, its small files, and
                        the ledger in pieces, so that what did not change is not kept twice
      keys/             private keys, only if that was asked for (owner only)
      lock

The order makes it consistent. First the signed metadata, then what maintainers signed, then the
ledger by SQLite's own backup, then the blobs that this ledger names: each names only what was
there before it, and a restored coordinator writes its index anew from the ledger anyway. A
backup exists when its list is in ``backups/``, which is written last and at once.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from barnraise.config import load_run_config
from barnraise.digest import digest_bytes
from barnraise.errors import BackupError, BlobMissingError, MessageError
from barnraise.protocol import BlobRef, Digest, Message, Millis
from barnraise.releases.durable import disk_full_translated, make_folder, replace_file, write_all, write_temporary
from barnraise.releases.manifest import RunName
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder, locked_file
from coordinator.ledger import Ledger
from coordinator.references import mentioned, required

__all__ = ["BackupFile", "BackupList", "BackupReport", "BackupStore", "backup"]

PIECE_BYTES = 1 << 18
PATHS = (
    r"^(run\.toml|trust/offline\.json|public/(metadata|targets)/[A-Za-z0-9][A-Za-z0-9._-]{0,200}"
    r"|private/scores/[0-9a-f]{64}\.json|keys/[a-z0-9][a-z0-9.-]{0,60}\.key)$"
)
MARK = "backup.json"


class BackupFile(Message):
    """A small file of the run folder; the path is one of few that can be."""

    kind: ClassVar[str] = "backup-file"
    path: Annotated[str, Field(pattern=PATHS)]
    blob: BlobRef


class BackupList(Message):
    """One backup: everything that a run folder is made of again.

    Attributes:
        ledger: its pieces, in order. public, private: blobs of the two stores.
        keys: lie in the backup's ``keys`` folder, and not among the blobs.
        missing: what was not there, or damaged, when the backup was made; in words.
    """

    kind: ClassVar[str] = "backup"
    format: Literal[1] = 1
    run: RunName
    at_ms: Millis
    ledger: tuple[BlobRef, ...]
    ledger_digest: Digest
    public: tuple[BlobRef, ...]
    private: tuple[BlobRef, ...]
    files: tuple[BackupFile, ...]
    keys: tuple[BackupFile, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup came to.

    Attributes:
        added_bytes: that were not in the folder before; ``total_bytes``: of the whole run.
    """

    path: Path
    blobs: int
    total_bytes: int
    added_bytes: int
    with_keys: bool
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BackupStore:
    """A folder with backups of one run."""

    root: Path

    @property
    def blobs(self) -> BlobStore:
        return BlobStore(self.root)

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def lists(self) -> Path:
        return self.root / "backups"

    def open(self, run: str) -> None:
        """Make the folder one of this run's backups, or find that it is.

        Raises:
            BackupError: it holds another run's, or other things.
        """
        found = self.run()
        if found == run:
            return
        if found is not None:
            raise BackupError(f"{self.root} holds backups of {found}, this is {run}; name another folder")
        if self.root.is_dir() and any(path.name != "lock" for path in self.root.iterdir()):
            raise BackupError(f"{self.root} holds other things than backups; name an empty or new folder")
        make_folder(self.root)
        replace_file(self.root / MARK, json.dumps({"format": 1, "run": run}).encode("ascii"))

    def run(self) -> str | None:
        """The run whose backups these are; None where there are none.

        Raises:
            BackupError: the mark cannot be read.
        """
        try:
            value = json.loads((self.root / MARK).read_bytes())
            return str(value["run"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise BackupError(f"{self.root / MARK} is damaged; name another folder") from error

    def all(self) -> list[Path]:
        """Every backup, oldest first."""
        return sorted(self.lists.glob("*-*.json"))

    def read(self, path: Path) -> BackupList:
        """A backup's list.

        Raises:
            BackupError: it is none, or altered.
        """
        try:
            data = path.read_bytes()
            if digest_bytes(data)[3:15] != path.stem.rpartition("-")[2]:
                raise BackupError(f"{path} was altered since it was written; choose another backup")
            return BackupList.read(json.loads(data))
        except FileNotFoundError as error:
            raise BackupError(f"there is no backup {path}") from error
        except (ValueError, RecursionError, MessageError) as error:
            raise BackupError(f"{path} is no list of a backup: {error}") from error

    def write(self, made: BackupList) -> Path:
        """Put a list in its place; from now on the backup exists."""
        data = made.canonical()
        stamp = datetime.fromtimestamp(made.at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S")
        path = self.lists / f"{stamp}{made.at_ms % 1000:03d}Z-{digest_bytes(data)[3:15]}.json"
        make_folder(self.lists)
        replace_file(path, data)
        return path


def backup(folder: RunFolder, dest: Path, *, now_ms: int, with_keys: bool = False) -> BackupReport:
    """Back up a run, which may be running.

    Args:
        dest: a new folder, or one with earlier backups of this run.
        with_keys: private keys too; whoever has them can sign as the coordinator.

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
        copier = _Copier(store.blobs)
        files = list(_small_files(folder, copier))
        ledger, ledger_digest, references = _ledger(folder, copier)
        public, private = _blobs(folder, references, copier)
        keys = _keys(folder, store, copier) if with_keys else ()
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
    return BackupReport(path, len(copier.sizes), copier.total_bytes, copier.added_bytes, bool(keys), made.missing)


@dataclass
class _Copier:
    """Copies into a backup's blobs what is not there, and counts."""

    blobs: BlobStore
    sizes: dict[str, int] = field(default_factory=dict)
    added_bytes: int = 0
    missing: list[str] = field(default_factory=list)

    @property
    def total_bytes(self) -> int:
        return sum(self.sizes.values())

    def data(self, data: bytes | memoryview, digest: str | None = None) -> BlobRef:
        """Bytes that are at hand; ``digest`` where it is known."""
        digest = digest or digest_bytes(data)
        if not self.blobs.has(digest):
            self.blobs.put(data)
            self.added_bytes += len(data)
        self.sizes[digest] = len(data)
        return BlobRef(digest=digest, size_bytes=len(data))

    def blob(self, source: BlobStore, digest: str, why: str) -> BlobRef | None:
        """A blob of a run's store; None, and noted, where it is not what its name says."""
        try:
            if self.blobs.has(digest):
                self.sizes[digest] = self.blobs.size(digest)
                return BlobRef(digest=digest, size_bytes=self.sizes[digest])
            data = source.map(digest)
        except BlobMissingError:
            self.missing.append(f"{why} is missing ({digest})")
            return None
        if digest_bytes(data) != digest:
            self.missing.append(f"{why} is damaged ({digest})")
            return None
        return self.data(data, digest)


def _small_files(folder: RunFolder, copier: _Copier) -> Iterator[BackupFile]:
    """Metadata first, and its timestamp before all: what that leads to was written before it."""
    public = folder.public
    names = [public / "metadata" / "timestamp.json"]
    names += [path for part in ("metadata", "targets") for path in sorted((public / part).glob("*.json"))]
    names += [folder.offline, folder.config, *sorted((folder.private / "scores").glob("*.json"))]
    for path in dict.fromkeys(names):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # an old version that was just forgotten, or nothing published yet
            continue
        yield BackupFile(path=path.relative_to(folder.root).as_posix(), blob=copier.data(data))


def _ledger(folder: RunFolder, copier: _Copier) -> tuple[tuple[BlobRef, ...], str, _References]:
    """The ledger as it is at one moment, in pieces, and what it names."""
    with tempfile.TemporaryDirectory(prefix="barnraise-backup-") as temporary:
        path = Path(temporary) / "ledger.sqlite"
        with (
            closing(sqlite3.connect(f"file:{folder.ledger.absolute()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, whatever the source's mode
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


def _keys(folder: RunFolder, store: BackupStore, copier: _Copier) -> tuple[BackupFile, ...]:
    """Private keys, readable by their owner only, named by what they are."""
    make_folder(store.keys)
    store.keys.chmod(0o700)
    return tuple(_key(folder, path, store, copier) for path in sorted(folder.keys.glob("*.key")))


def _key(folder: RunFolder, path: Path, store: BackupStore, copier: _Copier) -> BackupFile:
    data = path.read_bytes()
    digest = digest_bytes(data)
    target = store.keys / digest[3:]
    if not target.exists():
        temporary = write_temporary(store.keys, lambda descriptor: write_all(descriptor, data))
        temporary.chmod(0o600)
        temporary.replace(target)
        copier.added_bytes += len(data)
    blob = BlobRef(digest=digest, size_bytes=len(data))
    return BackupFile(path=path.relative_to(folder.root).as_posix(), blob=blob)
