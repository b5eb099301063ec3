"""Content-addressed blobs in a folder: ``ROOT/blobs/ab/cdef..`` holds the bytes with digest ``b3:abcdef..``.

A blob appears whole or not at all, and once :meth:`BlobStore.put` returns it survives a
power cut. Blobs never change, so all of it is idempotent and needs no lock. A text becomes
a path only after it was found to be a digest.

Storing what is there already makes it young again, and nothing is removed that became younger
than it was when that was decided: so whoever collects garbage never takes a blob from under
somebody who has just stored it.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from barnraise.digest import digest_bytes, is_digest, new_hasher
from barnraise.errors import BlobMissingError
from barnraise.releases.durable import (
    TEMPORARY_SUFFIX,
    disk_full_translated,
    fsync_file,
    fsync_folder,
    make_folder,
    write_all,
    write_temporary,
)

__all__ = ["BlobStore", "StoredBlob", "blob_path"]


def blob_path(digest: str) -> str:
    """Where a blob lies below a store's root, and below the base URL of a mirror.

    Raises:
        BlobMissingError: not a digest.
    """
    if not is_digest(digest):
        raise BlobMissingError("that is not the name of a blob; one looks like b3:<64 hex digits>")
    return f"blobs/{digest[3:5]}/{digest[5:]}"


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob as it lies in a store. ``stored_at_ns`` is when somebody last stored it."""

    digest: str
    size_bytes: int
    stored_at_ns: int


@dataclass(frozen=True, slots=True)
class BlobStore:
    """Blobs below ``root``, which is made when the first one is stored.

    Attributes:
        durable: whether a stored blob survives a power cut. Without that a name may lead to a torn file afterwards:
            for stores that can be filled again, and whose blobs are compared with their digest before they are used.
    """

    root: Path
    durable: bool = True

    def path(self, digest: str) -> Path:
        """Where the blob lies or would lie."""
        return self.root / blob_path(digest)

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def size(self, digest: str) -> int:
        """Bytes of a stored blob.

        Raises:
            BlobMissingError: it is not here.
        """
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError as error:
            raise self._missing(digest) from error

    def read(self, digest: str) -> bytes:
        """The whole blob. Not hashed again: whoever doubts the disk compares the digest.

        Raises:
            BlobMissingError: it is not here.
        """
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise self._missing(digest) from error

    def map(self, digest: str) -> memoryview:
        """The blob memory-mapped and read-only; the mapping lives as long as the view.

        Raises:
            BlobMissingError: it is not here.
        """
        try:
            with self.path(digest).open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    return memoryview(b"")
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except FileNotFoundError as error:
            raise self._missing(digest) from error

    def put(self, data: bytes | bytearray | memoryview, digest: str | None = None, *, settle: bool = True) -> str:
        """Store ``data`` and return its digest.

        Args:
            digest: of ``data``, where the caller has just computed it.
            settle: whether the blob survives a power cut when this returns. Whoever puts many says no, and calls
                :meth:`settle` for all of them before anybody relies on one.

        Raises:
            DiskFullError: no space left; nothing was stored.
        """
        digest = digest or digest_bytes(data)
        if not self._kept(digest):
            temporary = write_temporary(self._incoming(), lambda fd: write_all(fd, data), wait=self.durable)
            self._install(temporary, digest)
        if settle:
            self.settle([digest])
        return digest

    def write_beside(self, data: bytes | bytearray | memoryview) -> Path:
        """Write ``data`` where :meth:`adopt` takes it from; the disk begins with it, and nobody waits.

        Raises:
            DiskFullError: no space left.
        """
        return write_temporary(self._incoming(), lambda fd: write_all(fd, data), wait=False, begin=True)

    def write_parts_beside(self, parts: Iterable[bytes]) -> tuple[Path, str, int]:
        """As :meth:`write_beside`, with what comes in parts: each is hashed and written while it is in the cache.

        Returns:
            Where it is, its digest, and how many bytes it has.

        Raises:
            DiskFullError: no space left. Then, and when ``parts`` fails, nothing is there.
        """
        hasher, size_bytes = new_hasher(), 0

        def write(descriptor: int) -> None:
            nonlocal size_bytes
            for part in parts:
                hasher.update(part)
                write_all(descriptor, part)
                size_bytes += len(part)

        path = write_temporary(self._incoming(), write, wait=False)
        return path, f"b3:{hasher.hexdigest()}", size_bytes

    def settle(self, digests: Iterable[str]) -> None:
        """Make the names of blobs durable; their content was before it got a name.

        Also of those that were there: whoever renamed them may have crashed.
        """
        if not self.durable:
            return
        with disk_full_translated(self.root):
            for folder in sorted({self.path(digest).parent for digest in digests}):
                fsync_folder(folder)

    def adopt(self, path: Path, digest: str, *, settle: bool = True) -> None:
        """Move a file in that the caller has verified to have ``digest``; afterwards ``path`` is gone.

        Args:
            settle: see :meth:`put`.

        Raises:
            DiskFullError: no space left; ``path`` is still there.
        """
        if not self._kept(digest):
            if self.durable:
                fsync_file(path)
            try:
                self._install(path, digest)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._install(self._copy(path), digest)
        if settle:
            self.settle([digest])
        path.unlink(missing_ok=True)  # it is there if it was copied, or not needed

    def link_from(self, other: BlobStore, digest: str) -> None:
        """Have a blob of another store here too: as a hard link where that works, else as a copy.

        Raises:
            BlobMissingError: the other store has no such blob.
            DiskFullError: no space left.
        """
        if self._kept(digest):
            self.settle([digest])
            return
        source, target = other.path(digest), self.path(digest)
        if not source.is_file():
            raise other._missing(digest)
        with disk_full_translated(self.root):
            make_folder(target.parent)
            try:
                target.hardlink_to(source)
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
                    raise
                self._install(self._copy(source), digest)
            os.utime(target)
            self.settle([digest])

    def stored(self) -> Iterator[StoredBlob]:
        """Every blob, sorted by digest; what is no blob is passed over."""
        for folder in sorted(self.root.glob("blobs/[0-9a-f][0-9a-f]")):
            for path in sorted(folder.iterdir()):
                digest = f"b3:{folder.name}{path.name}"
                try:
                    found = path.stat()
                except FileNotFoundError:  # removed meanwhile
                    continue
                if is_digest(digest) and path.is_file():
                    yield StoredBlob(digest, found.st_size, found.st_mtime_ns)

    def remove(self, blob: StoredBlob) -> bool:
        """Remove a blob unless somebody has stored it again since it was seen; whether it is gone."""
        path = self.path(blob.digest)
        with self._locked(fcntl.LOCK_EX):
            try:
                if path.stat().st_mtime_ns != blob.stored_at_ns:
                    return False
            except FileNotFoundError:
                return True
            path.unlink()
        return True

    def delete(self, digest: str) -> None:
        """Forget a blob; one that is not here is fine."""
        self.path(digest).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove temporary files that a crash left behind, and count them.

        Only while nobody else writes to this store, that is: at start, with the folder's lock held.
        """
        left = list(self.root.glob(f"incoming/*{TEMPORARY_SUFFIX}"))
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def _kept(self, digest: str) -> bool:
        """Whether the blob is here; if so it is made young again."""
        path = self.path(digest)
        if not path.is_file():
            return False
        with self._locked(fcntl.LOCK_SH):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Hold the store for a moment: shared to keep a blob, alone to remove one."""
        descriptor = os.open(self._incoming() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def _incoming(self) -> Path:
        folder = self.root / "incoming"
        with disk_full_translated(self.root):
            make_folder(folder)
        return folder

    def _copy(self, source: Path) -> Path:
        def write(descriptor: int) -> None:
            with source.open("rb") as reader, os.fdopen(os.dup(descriptor), "wb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)

        return write_temporary(self._incoming(), write, wait=self.durable)

    def _install(self, temporary: Path, digest: str) -> None:
        target = self.path(digest)
        with disk_full_translated(self.root):
            if self.durable:
                make_folder(target.parent)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(target)

    def _missing(self, digest: str) -> BlobMissingError:
        return BlobMissingError(
            f"blob {digest[:15]}.. is not in {self.root}; restore the folder from a backup, or pull from another mirror"
        )
