"""Blobs that were fetched, kept for the next pull: one folder for all pulls of a user.

    $XDG_CACHE_HOME/barnraise/
      blobs/ab/cdef..   whole and verified when they were put there; who uses one compares the digest again, for
                        nobody waits for the disk: a power cut may tear one
      partial/          blobs that are not complete (:mod:`barnraise.releases.partial`)
      names/RUN.json    what the blobs of a run are, for whoever reads a list of them
      pulls/            one file for every pull under way, locked by it, with the blobs it needs
      lock              held for a moment, by whoever says what it needs and by whoever makes room

When there are more bytes than the limit, what was not used for the longest time goes first, and
never what a pull under way needs. Nothing here is worth a backup: all of it can be fetched again.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from barnraise.digest import digest_file, is_digest
from barnraise.errors import BadNameError, ConfigValueError, DiskFullError, StorageError
from barnraise.message import check_run_name
from barnraise.releases.durable import make_folder, replace_file
from barnraise.releases.locks import lock_path, unlock_path, waiting_lock
from barnraise.releases.partial import JOURNAL_SUFFIX, PARTIAL_FOLDER
from barnraise.releases.store import BlobStore, StoredBlob

__all__ = ["MAX_BYTES", "Cache", "Cached", "Use", "cache_home"]

MAX_BYTES = 10 << 30
ENVIRONMENT = "BARNRAISE_CACHE_MAX_BYTES"
NAMES_MAX_BYTES = 64 << 20


def cache_home() -> Path:
    """Folder of the user's cache, after the XDG base directory rules."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "barnraise"


def max_bytes_of_user() -> int:
    """The limit from the environment, or the usual one.

    Raises:
        ConfigValueError: not a number of bytes.
    """
    text = os.environ.get(ENVIRONMENT, "")
    if not text:
        return MAX_BYTES
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ConfigValueError(f"{ENVIRONMENT} is {text[:40]!a}, expected a number of bytes such as {MAX_BYTES}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Cached:
    """A blob in the cache.

    Attributes:
        is_whole: False for one that is still being fetched, or whose pull was stopped.
        belongs_to: what it is, such as ``stdlib-lm 0.1.4 patch``; empty when that is not known.
        needed: by a pull under way.
    """

    digest: str
    size_bytes: int
    used_at_ns: int
    is_whole: bool
    belongs_to: str
    needed: bool


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache below ``root``, made when the first pull begins."""

    root: Path
    max_bytes: int = MAX_BYTES

    @classmethod
    def of_user(cls) -> Cache:
        """The one of this user.

        Raises:
            ConfigValueError: a limit that is no number.
        """
        return cls(cache_home(), max_bytes_of_user())

    @property
    def store(self) -> BlobStore:
        return BlobStore(self.root, durable=False)  # all of it can be fetched again

    @contextmanager
    def used(self) -> Iterator[Use]:
        """Use the cache for one pull; when that went well, it is brought back below its limit.

        Raises:
            StorageError: nothing can be written there.
        """
        pulls = self.root / "pulls"
        path = pulls / f"{os.getpid()}-{secrets.token_hex(4)}"
        try:
            make_folder(pulls)
            descriptor = lock_path(path, wait=True)  # for whoever looks whether its pull has ended
        except OSError as error:
            raise StorageError(
                f"the cache cannot be written: {error.strerror} ({error.filename or pulls}); "
                "name another folder with --cache, or in XDG_CACHE_HOME"
            ) from error
        assert descriptor is not None
        try:
            yield Use(self, descriptor)
        finally:
            unlock_path(path, descriptor)
        self.trim()  # after a failure what is there is kept for the next try, which makes room first

    def entries(self) -> list[Cached]:
        """Everything in the cache, the longest unused first."""
        needed, names = self._needed(), self._names()
        found = [(blob, True) for blob in self.store.stored()] + [(blob, False) for blob in self._partial()]
        found.sort(key=lambda pair: (pair[0].stored_at_ns, pair[0].digest))
        return [
            Cached(
                digest=blob.digest,
                size_bytes=blob.size_bytes,
                used_at_ns=blob.stored_at_ns,
                is_whole=is_whole,
                belongs_to=names.get(blob.digest, ""),
                needed=blob.digest in needed,
            )
            for blob, is_whole in found
        ]

    def trim(self, room_bytes: int = 0) -> list[Cached]:
        """Remove what was not used for the longest time, until there is room below the limit.

        Args:
            room_bytes: what is about to be added.

        Returns:
            What was removed.
        """
        if not self.root.is_dir():
            return []
        with waiting_lock(self.root / "lock"):
            entries = self.entries()
            too_many = sum(entry.size_bytes for entry in entries) + room_bytes - self.max_bytes
            removed = []
            for entry in entries:
                if too_many <= 0:
                    break
                if not entry.needed and self._remove(entry):
                    too_many -= entry.size_bytes
                    removed.append(entry)
            return removed

    def remove(self, digests: Collection[str]) -> list[Cached]:
        """Remove blobs, apart from those that a pull under way needs; returns those that are gone."""
        if not self.root.is_dir():
            return []
        with waiting_lock(self.root / "lock"):
            entries = [entry for entry in self.entries() if entry.digest in digests and not entry.needed]
            return [entry for entry in entries if self._remove(entry)]

    def verify(self) -> list[Cached]:
        """Compare every whole blob with its name, and remove those that are damaged; returns these."""
        damaged = []
        for entry in self.entries():
            try:
                if entry.is_whole and digest_file(self.store.path(entry.digest)) != entry.digest:
                    self.store.delete(entry.digest)
                    damaged.append(entry)
            except FileNotFoundError:  # another process made room
                continue
        return damaged

    def know(self, run: str, names: Mapping[str, str]) -> None:
        """Remember what the blobs of a run are, beside what was known before.

        Args:
            names: digest -> such as ``0.1.4 patch``.
        """
        path = self.root / "names" / f"{check_run_name(run)}.json"
        before = _read_names(path)
        after = before | dict(names)
        if after != before:
            make_folder(path.parent)
            replace_file(path, json.dumps(after, indent=0, sort_keys=True).encode("ascii"))

    def _names(self) -> dict[str, str]:
        """Digest -> run and what it is there."""
        found = [(path.stem, _read_names(path)) for path in sorted(self.root.glob("names/*.json"))]
        return {digest: f"{run} {what}" for run, names in found for digest, what in names.items()}

    def _partial(self) -> Iterator[StoredBlob]:
        for path in sorted((self.root / PARTIAL_FOLDER).glob(f"*{JOURNAL_SUFFIX}")):
            digest = f"b3:{path.name.removesuffix(JOURNAL_SUFFIX)}"
            try:
                data = path.with_name(digest[3:]).stat()
            except FileNotFoundError:
                continue
            if is_digest(digest):  # a file with holes: what it takes, not how long it is
                yield StoredBlob(digest, 512 * data.st_blocks, data.st_mtime_ns)

    def _needed(self) -> set[str]:
        """Digests that pulls under way need. A file whose pull has ended is removed."""
        needed: set[str] = set()
        for path in self.root.glob("pulls/*"):
            descriptor = lock_path(path)
            if descriptor is not None:
                unlock_path(path, descriptor)
            else:
                with suppress(FileNotFoundError):  # it ended just now
                    needed.update(path.read_text(encoding="ascii").split())
        return needed

    def _remove(self, entry: Cached) -> bool:
        if entry.is_whole:
            return self.store.remove(StoredBlob(entry.digest, entry.size_bytes, entry.used_at_ns))
        path = self.root / PARTIAL_FOLDER / entry.digest[3:]
        journal = path.with_name(path.name + JOURNAL_SUFFIX)
        descriptor = lock_path(journal)
        if descriptor is None:
            return False
        path.unlink(missing_ok=True)
        unlock_path(journal, descriptor)
        return True


@dataclass(frozen=True, slots=True)
class Use:
    """A pull's hold on the cache. ``descriptor``: the file with what it needs."""

    cache: Cache
    descriptor: int

    def need(self, digests: Collection[str], *, room_bytes: int = 0) -> None:
        """Say which blobs must stay until the pull is over, and make room for what will be fetched.

        Raises:
            DiskFullError: no space left to say so.
        """
        text = "\n".join(sorted(digests)).encode("ascii")
        with waiting_lock(self.cache.root / "lock"):
            os.ftruncate(self.descriptor, 0)
            if os.pwrite(self.descriptor, text, 0) != len(text):
                raise DiskFullError(f"no space left in the cache {self.cache.root}. Free some space and try again.")
        self.cache.trim(room_bytes)
        for digest in digests:
            with suppress(FileNotFoundError):  # not there yet
                os.utime(self.cache.store.path(digest))


def _read_names(path: Path) -> dict[str, str]:
    """What a file says of blobs; one that makes no sense says nothing."""
    try:
        check_run_name(path.stem)
        if path.stat().st_size > NAMES_MAX_BYTES:
            return {}
        return {str(digest): str(what) for digest, what in json.loads(path.read_bytes()).items()}
    except (BadNameError, ValueError, AttributeError, RecursionError, FileNotFoundError):
        return {}
