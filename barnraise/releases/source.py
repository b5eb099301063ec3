"""Where published bytes come from: a folder on this disk, or an HTTP server.

A source is not trusted: it hands over bytes up to a cap, and whoever asked verifies them.
The layout is the same everywhere: ``metadata/``, ``targets/`` and ``blobs/ab/cd..`` below one root.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar

from barnraise.errors import BlobMissingError, NotARunFolderError, VerificationError
from barnraise.protocol import BlobRef
from barnraise.releases.durable import disk_full_translated
from barnraise.releases.store import blob_path
from barnraise.run_folder import RunFolder

__all__ = ["MANIFEST_MAX_BYTES", "FolderSource", "ReleaseSource", "open_source"]

MANIFEST_MAX_BYTES = 16 << 20
PIECE_BYTES = 1 << 20

B = TypeVar("B", bytes, bytearray)


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

    def fetch(self, blob: BlobRef, sink: Path) -> int:
        """Append to ``sink`` what it lacks of a blob; it never grows beyond the blob's size.

        Returns:
            Bytes that were read from the source.
        """


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
                "Name one with --from, as a folder or as http://HOST:PORT"
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

    def fetch(self, blob: BlobRef, sink: Path) -> int:
        """Copy what is missing.

        Raises:
            BlobMissingError: not in this folder.
            DiskFullError: no space left.
        """
        path = self._root / blob_path(blob.digest)
        count = 0
        try:
            with disk_full_translated(sink.parent), path.open("rb") as source, sink.open("ab") as target:
                source.seek(target.tell())
                while piece := source.read(max(0, min(PIECE_BYTES, blob.size_bytes - target.tell()))):
                    target.write(piece)
                    count += len(piece)
        except FileNotFoundError as error:
            raise BlobMissingError(
                f"{self.label} has no blob {blob.digest[:15]}.. although its index lists it; use another mirror"
            ) from error
        return count


def capped(data: B, most: int, what: str) -> B:
    """``data``, if it is not larger than ``most`` bytes.

    Raises:
        VerificationError: it is.
    """
    if len(data) > most:
        raise VerificationError(f"{what} has more than {most:,} bytes; that is not one of ours. Use another mirror")
    return data


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
