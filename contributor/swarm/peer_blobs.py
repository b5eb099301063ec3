"""A source of releases that asks other nodes for blobs first, and the gateway for all else and whatever they lack.

The sidecar finds a node that has the blob, keeps to the owner's limit on fetching, and compares every byte with
the digest; whoever pulls compares again. Lists and metadata come from the gateway: they are small, and signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from barnraise.errors import SwarmError
from barnraise.message import BlobRef
from barnraise.releases.source import ReleaseSource
from barnraise.releases.stream import PIECE_BYTES, BlobStream
from barnraise.swarm.blob_choice import limit_s, patience_s
from barnraise.swarm.process import Sidecar

__all__ = ["KEPT_BYTES", "PeersFirst", "kept_bytes"]

KEPT_BYTES = 512 << 20
KEPT_SHARE = 8  # one part of so many, of the disk that is free
SMALLEST_BYTES = 4096  # of a blob that is worth asking around for
ANSWER_S = 5.0  # that a sidecar takes over what its search may take


def kept_bytes(free_bytes: int) -> int:
    """How much of the blobs of releases a node keeps for others, those used last; less on a disk that gets full."""
    return min(KEPT_BYTES, free_bytes // KEPT_SHARE)


@dataclass(frozen=True)
class PeersFirst:
    """A :class:`~barnraise.releases.source.ReleaseSource`.

    Attributes:
        gateway: whom everything can be asked of.
        sidecar: of the service ``peers``, with its part ``blobs``.
        from_gateway: called with the size of every piece of a blob that the gateway gave all the same.
    """

    gateway: ReleaseSource
    sidecar: Sidecar
    from_gateway: Callable[[int], None] | None = None

    @property
    def label(self) -> str:
        return self.gateway.label

    @property
    def vouches(self) -> bool:
        return self.gateway.vouches

    def read(self, path: str, most: int) -> bytes:
        return self.gateway.read(path, most)

    @contextmanager
    def open_blob(self, blob: BlobRef, start: int, stop: int) -> Iterator[BlobStream]:
        """From another node if there is one that gives it, within a bounded time; else from the gateway."""
        path = self._asked(blob) if blob.size_bytes >= SMALLEST_BYTES else None
        file = None if path is None else _opened(path)
        if file is None:
            with self.gateway.open_blob(blob, start, stop) as stream:
                yield replace(stream, pieces=_counted(stream.pieces, self.from_gateway))
        else:
            with file:
                yield BlobStream(start, _pieces(file, start, stop))

    def _asked(self, blob: BlobRef) -> Path | None:
        """Where the blob is that another node gave; None when the gateway is to be asked, whatever the reason."""
        if self.sidecar.state.doing == "starting":  # as it is when a node joins, which is when it fetches most
            self.sidecar.wait_ready(patience_s(blob.size_bytes))
        wait_s = limit_s(blob.size_bytes) + ANSWER_S
        try:
            answer = self.sidecar.ask("fetch", wait_s, digest=blob.digest, size=blob.size_bytes)
        except SwarmError:
            return None  # the sidecar's own state says why, wherever the owner looks
        path = answer.get("path")
        return Path(path) if isinstance(path, str) else None


def _opened(path: Path) -> BinaryIO | None:
    """The file, which stays readable whoever removes it; None if somebody has."""
    try:
        return path.open("rb")
    except OSError:
        return None


def _pieces(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    file.seek(start)
    while (left := stop - file.tell()) > 0 and (piece := file.read(min(PIECE_BYTES, left))):
        yield piece


def _counted(pieces: Iterator[bytes], count: Callable[[int], None] | None) -> Iterator[bytes]:
    for piece in pieces:
        if count is not None:
            count(len(piece))
        yield piece
