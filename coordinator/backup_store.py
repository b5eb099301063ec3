"""A folder with backups of one run: what lies where, and reading it with every byte compared.

DEST/
  backup.json       what this folder is, and of which run
  backups/T-D.json  one a backup: T when it was made, D the first digits of its digest
  blobs/ab/cd..     what backups are made of, each once: a run's blobs, its small files, and
                    the ledger in pieces, so that what did not change is not kept twice
  keys/             private keys, only if that was asked for (owner only)
  lock              held while a backup is written
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from barnraise.digest import digest_bytes
from barnraise.errors import BackupError, BlobMissingError, MessageError
from barnraise.message import BlobRef, Digest, Message, Millis
from barnraise.releases.durable import make_folder, replace_file, write_all, write_temporary
from barnraise.releases.manifest import RunName
from barnraise.releases.store import BlobStore
from coordinator.ledger.file import faults_of

__all__ = ["BackupFile", "BackupList", "BackupStore"]

PATHS = (
    r"^(run\.toml|trust/offline\.json|public/(metadata|targets)/[A-Za-z0-9][A-Za-z0-9._-]{0,200}"
    r"|acceptance/[a-z0-9-]{1,48}\.toml|private/scores/[0-9a-f]{16}-[0-9a-f]{32}\.json|keys/[a-z0-9][a-z0-9.-]{0,60}\.key)$"
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

    def blob(self, ref: BlobRef) -> memoryview:
        """A blob of the backups, compared with its digest.

        Raises:
            BackupError: it is missing or altered.
        """
        try:
            data = self.blobs.map(ref.digest)
        except BlobMissingError as error:
            raise BackupError(f"{self.root} lacks {ref.digest[:15]}..") from error
        found = digest_bytes(data)
        if found != ref.digest:
            raise BackupError(f"{self.blobs.path(ref.digest)} is damaged (it is {found[:15]}..)")
        return data

    def key_path(self, digest: str) -> Path:
        """Where a private key lies."""
        return self.keys / digest[3:]

    def key(self, file: BackupFile) -> bytes:
        """A private key, compared with its digest.

        Raises:
            BackupError: it is missing or altered.
        """
        path = self.key_path(file.blob.digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise BackupError(f"{path} is missing, which is {file.path}") from error
        if digest_bytes(data) != file.blob.digest:
            raise BackupError(f"{path}, which is {file.path}, is damaged")
        return data

    def write_ledger(self, made: BackupList, path: Path) -> None:
        """Put the pieces of a backup's ledger together, and have SQLite look at them.

        Raises:
            BackupError: a piece is missing or altered, or they do not give a ledger in order.
        """
        data = b"".join(bytes(self.blob(piece)) for piece in made.ledger)
        if digest_bytes(data) != made.ledger_digest:
            raise BackupError(f"the ledger's pieces in {self.root} do not give the ledger")
        write_temporary(path.parent, lambda descriptor: write_all(descriptor, data)).replace(path)
        if faults := faults_of(path):
            raise BackupError(f"the ledger in this backup is damaged: {'; '.join(faults)}")
