"""What is there of a blob that is being fetched: a file with holes, and a journal of what is filled.

    partial/
      abcd..        the bytes, each at its place
      abcd...have   16 bytes for every stretch that was written: start and stop, little-endian u64

A stretch is entered after its bytes were written, so a process that is killed leaves a journal
that is right, and the next process goes on from there. After a power cut it may be wrong; then
the digest of the whole is wrong as well, and the blob is fetched anew.

The journal is also the lock: one process at a time fills a blob.
"""

from __future__ import annotations

import os
import struct
import threading

from barnraise.message import BlobRef
from barnraise.releases.durable import disk_full_translated, make_folder, write_all, write_all_at
from barnraise.releases.locks import lock_path, unlock_path
from barnraise.releases.store import BlobStore

__all__ = ["JOURNAL_SUFFIX", "PARTIAL_FOLDER", "Partial", "Stretch", "merged", "missing"]

PARTIAL_FOLDER = "partial"
JOURNAL_SUFFIX = ".have"
_RECORD = struct.Struct("<QQ")

Stretch = tuple[int, int]
"""Bytes from a start to a stop, exclusive."""


def merged(stretches: list[Stretch]) -> list[Stretch]:
    """The same bytes as sorted stretches that do not touch each other."""
    result: list[Stretch] = []
    for start, stop in sorted(stretches):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(stop, result[-1][1]))
        elif start < stop:
            result.append((start, stop))
    return result


def missing(have: list[Stretch], size: int, most: int) -> list[Stretch]:
    """The holes of a blob of ``size`` bytes, in order, cut into parts of at most ``most`` bytes.

    Args:
        have: merged.
    """
    holes = zip([0, *(stop for _, stop in have)], [*(start for start, _ in have), size], strict=True)
    return [(at, min(at + most, stop)) for start, stop in holes for at in range(start, stop, most)]


class Partial:
    """One blob of ``store`` that is not complete. Call :meth:`acquire` first, :meth:`release` last.

    :meth:`write` may be called by several threads.
    """

    def __init__(self, store: BlobStore, blob: BlobRef) -> None:
        folder = store.root / PARTIAL_FOLDER
        self.blob = blob
        self.path = folder / blob.digest[3:]
        self._journal_path = self.path.with_name(self.path.name + JOURNAL_SUFFIX)
        self._journal: int | None = None
        self._data = -1
        self._lock = threading.Lock()
        self._have: list[Stretch] = []

    @property
    def have(self) -> list[Stretch]:
        """What is filled, merged."""
        return self._have

    @property
    def size(self) -> int:
        """Bytes that are filled."""
        return sum(stop - start for start, stop in self._have)

    def acquire(self) -> bool:
        """Begin, unless another process is at it.

        Raises:
            DiskFullError: no space left.
        """
        with disk_full_translated(self.path.parent):
            make_folder(self.path.parent)
            self._journal = lock_path(self._journal_path)
            if self._journal is None:
                return False
            self._data = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._have = self._read_journal(self._journal)
        return True

    def write(self, at: int, piece: bytes) -> int:
        """Put bytes to their place.

        Returns:
            How many of them were not there.

        Raises:
            DiskFullError: no space left; what was there stays.
        """
        assert self._journal is not None
        assert at + len(piece) <= self.blob.size_bytes
        with disk_full_translated(self.path.parent), self._lock:
            write_all_at(self._data, piece, at)
            before = self.size
            self._have = merged([*self._have, (at, at + len(piece))])
            write_all(self._journal, _RECORD.pack(at, at + len(piece)))
            return self.size - before

    def clear(self) -> None:
        """Forget all bytes."""
        assert self._journal is not None
        with self._lock:
            os.ftruncate(self._journal, 0)
            os.lseek(self._journal, 0, os.SEEK_SET)
            os.ftruncate(self._data, 0)
            self._have = []

    def release(self, *, keep: bool) -> None:
        """End. With ``keep`` another process may go on here; otherwise nothing is left of it."""
        if self._journal is None:
            return
        os.close(self._data)
        if keep and self._have:
            os.close(self._journal)
        else:
            self.path.unlink(missing_ok=True)
            unlock_path(self._journal_path, self._journal)
        self._journal = None

    def _read_journal(self, descriptor: int) -> list[Stretch]:
        """Whole records that make sense; a last one that was cut off is cut away."""
        length = os.fstat(descriptor).st_size // _RECORD.size * _RECORD.size
        os.ftruncate(descriptor, length)
        data = os.pread(descriptor, length, 0)
        os.lseek(descriptor, length, os.SEEK_SET)
        there = min(os.fstat(self._data).st_size, self.blob.size_bytes)
        return merged([(start, stop) for start, stop in _RECORD.iter_unpack(data) if start < stop <= there])
