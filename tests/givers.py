"""Sources of blobs in memory, some of them bad: for tests of fetching."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from barnraise.digest import digest_bytes
from barnraise.errors import BlobMissingError, UnreachableError
from barnraise.message import BlobRef
from barnraise.releases.stream import BlobStream

__all__ = ["Giver", "as_blobs", "blob_of"]


def blob_of(data: bytes) -> BlobRef:
    return BlobRef(digest=digest_bytes(data), size_bytes=len(data))


def as_blobs(*contents: bytes) -> dict[str, bytes]:
    return {digest_bytes(data): data for data in contents}


@dataclass
class Giver:
    """Hands over what is in ``blobs``, a piece at a time.

    Attributes:
        breaks: after how many bytes each of the next answers breaks off.
        spoil: what becomes of a blob's bytes before they are sent.
        ranges: whether wishes for a part are honoured.
        asked: (digest, start, stop) of every question. sent: bytes handed over.
        before: called before every piece.
    """

    blobs: Mapping[str, bytes]
    label: str = "http://one"
    piece: int = 1000
    breaks: list[int] = field(default_factory=list)
    spoil: Callable[[bytes], bytes] = bytes
    ranges: bool = True
    before: Callable[[], None] = lambda: None
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def open_blob(self, blob: BlobRef, start: int, stop: int) -> Iterator[BlobStream]:
        with self._lock:
            self.asked.append((blob.digest, start, stop))
            left = self.breaks.pop(0) if self.breaks else None
        if blob.digest not in self.blobs:
            raise BlobMissingError(f"{self.label} has no blob {blob.digest[:15]}..")
        data = self.spoil(self.blobs[blob.digest])
        if self.ranges:
            yield BlobStream(start, self._pieces(data[start:stop], left))
        else:
            yield BlobStream(0, self._pieces(data, left), whole=True)

    def _pieces(self, data: bytes, left: int | None) -> Iterator[bytes]:
        for at in range(0, len(data), self.piece):
            self.before()
            piece = data[at : at + self.piece]
            if left is not None:
                piece, left = piece[:left], left - len(piece)
            with self._lock:
                self.sent += len(piece)
            if piece:
                yield piece
            if left is not None and left < 0:
                raise UnreachableError(f"{self.label}: the connection broke")
