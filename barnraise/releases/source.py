"""Where published bytes come from: a folder on this disk, or an HTTP server.

A source is not trusted: it hands over bytes up to a cap, and whoever asked verifies them.
The layout is the same everywhere: ``metadata/``, ``targets/`` and ``blobs/ab/cd..`` below one root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from barnraise.errors import BlobMissingError, NotARunFolderError, VerificationError
from barnraise.message import BlobRef
from barnraise.releases.durable import disk_full_translated
from barnraise.releases.store import BlobStore, blob_path
from barnraise.releases.stream import PIECE_BYTES, BlobStream, capped
from barnraise.run_folder import RunFolder

__all__ = ["MANIFEST_MAX_BYTES", "FolderSource", "ReleaseSource", "copy_blob", "open_source"]

MANIFEST_MAX_BYTES = 16 << 20


class ReleaseSource(Protocol):
    """What pulling needs from the other side."""

    @property
    def label(self) -> str:
        """How to name it in a message."""

    @property
    def vouches(self) -> bool:
        """Whether the source itself is beyond doubt: a run folder on this disk."""

    def read(self, path: str, most: int) -> bytes:
        """A file of metadata, or a list: what lies at ``path`` below the root, at most ``most`` bytes.

        Raises:
            BlobMissingError: there is none.
            VerificationError: it is larger.
        """

    def open_blob(self, blob: BlobRef, start: int, stop: int) -> AbstractContextManager[BlobStream]:
        """Ask for a part of a blob: see :class:`~barnraise.releases.stream.BlobGiver`."""


class FolderSource:
    """A run folder, its ``public/`` folder, or a mirror of that."""

    def __init__(self, path: Path) -> None:
        """Look, but do not read yet.

        Raises:
            NotARunFolderError: neither a run nor a mirror.
        """
        run = RunFolder(path)
        self._run = run if run.config.is_file() else None
        self._root = run.public if self._run else path
        if self._run is None and not (path / "metadata" / "timestamp.json").is_file():
            raise NotARunFolderError(
                f"{path} is neither a run folder (no run.toml) nor a mirror (no metadata/timestamp.json). "
                "Name the folder of a run or mirror, or http://HOST:PORT"
            )

    @property
    def label(self) -> str:
        return str(self._run.root if self._run else self._root)

    @property
    def vouches(self) -> bool:
        """A run folder has the keys beside its releases, so nothing is in doubt; a mirror does not."""
        return self._run is not None

    def read(self, path: str, most: int) -> bytes:
        """A file of metadata, or a list.

        Raises:
            BlobMissingError: there is none.
            VerificationError: it is larger than ``most``.
        """
        try:
            with (self._root / path).open("rb") as file:
                return capped(file.read(most + 1), most, f"{path} of {self.label}")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise BlobMissingError(f"{self.label} has no {path}; use another mirror") from error

    def path(self, digest: str) -> Path:
        """Where a blob lies or would lie."""
        return self._root / blob_path(digest)

    def holds(self, store: BlobStore) -> bool:
        """Whether a store is this very folder, so that nothing can be fetched into it from here."""
        return self._root.resolve() == store.root.resolve()

    @contextmanager
    def open_blob(self, blob: BlobRef, start: int, stop: int) -> Iterator[BlobStream]:
        """Read a part of a blob.

        Raises:
            BlobMissingError: not in this folder.
            VerificationError: a file of another size.
        """
        try:
            with self.path(blob.digest).open("rb") as file:
                if (size_bytes := file.seek(0, os.SEEK_END)) != blob.size_bytes:
                    raise VerificationError(
                        f"{self.label} has {size_bytes:,} bytes for blob {blob.digest[:15]}.. of "
                        f"{blob.size_bytes:,}; use another mirror"
                    )
                file.seek(start)
                yield BlobStream(start, _pieces(file, stop - start))
        except PermissionError as error:
            raise BlobMissingError(
                f"{self.label}: blob {blob.digest[:15]}.. cannot be read: {error.strerror}; use another mirror"
            ) from error
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise BlobMissingError(
                f"{self.label} has no blob {blob.digest[:15]}.. although its index lists it; use another mirror"
            ) from error


def _pieces(file: BinaryIO, count: int) -> Iterator[bytes]:
    while piece := file.read(min(PIECE_BYTES, count)):
        yield piece
        count -= len(piece)


def copy_blob(source: ReleaseSource, blob: BlobRef, sink: Path) -> int:
    """Write what a source says is a blob into a file, at most the blob's size; nothing is compared.

    Returns:
        Bytes that were read.

    Raises:
        BlobMissingError, NetworkError: it is not handed over.
        DiskFullError: no space left.
    """
    left = blob.size_bytes
    with disk_full_translated(sink.parent), sink.open("wb") as file, source.open_blob(blob, 0, left) as stream:
        for piece in stream.pieces:
            left -= file.write(piece[:left])
            if not left:
                break
    return blob.size_bytes - left


def open_source(text: str) -> ReleaseSource:
    """A source from what a user types: a URL or a folder.

    Raises:
        UsageError: a URL of another kind than http and https.
        NotARunFolderError: a folder with nothing to pull.
    """
    if "://" in text:
        from barnraise.releases.http_source import HttpSource  # urllib3 only when it is needed

        return HttpSource(text)
    return FolderSource(Path(text))
