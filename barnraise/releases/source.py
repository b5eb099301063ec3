"""Where published bytes come from: a folder on this disk, or an HTTP server.

A source is not trusted: it hands over bytes up to a cap, and whoever asked verifies them.
The layout is the same everywhere: ``index.json`` and ``blobs/ab/cd..`` below one root.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar

from barnraise.errors import BlobMissingError, NoSuchVersionError, NotARunFolderError, VerificationError
from barnraise.identity import Identity
from barnraise.protocol import BlobRef
from barnraise.releases.durable import disk_full_translated
from barnraise.releases.publish import INDEX_FILE
from barnraise.releases.store import blob_path
from barnraise.run_folder import RunFolder

__all__ = ["INDEX_MAX_BYTES", "MANIFEST_MAX_BYTES", "FolderSource", "ReleaseSource", "open_source"]

INDEX_MAX_BYTES = 16 << 20
MANIFEST_MAX_BYTES = 16 << 20
PIECE_BYTES = 1 << 20

B = TypeVar("B", bytes, bytearray)


class ReleaseSource(Protocol):
    """What pulling needs from the other side."""

    @property
    def label(self) -> str:
        """How to name it in a message."""

    @property
    def key(self) -> str | None:
        """The coordinator's key, where the source itself is beyond doubt; else None."""

    def index(self) -> bytes:
        """The signed index, at most ``INDEX_MAX_BYTES``."""

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
        if self._run is None and not (path / INDEX_FILE).is_file():
            raise NotARunFolderError(
                f"{path} is neither a run folder (no run.toml) nor a mirror (no index.json). "
                "Name one with --from, as a folder or as http://HOST:PORT"
            )

    @property
    def label(self) -> str:
        return str(self._run.root if self._run else self._root)

    @property
    def key(self) -> str | None:
        """In a run folder the coordinator's own key lies beside its releases, so nothing is in doubt."""
        if self._run is None or not self._run.key.is_file():
            return None
        return Identity.load_or_create(self._run.key).public

    def index(self) -> bytes:
        """The signed index.

        Raises:
            NoSuchVersionError: the run has not released anything yet.
            VerificationError: absurdly large.
        """
        try:
            with (self._root / INDEX_FILE).open("rb") as file:
                data = file.read(INDEX_MAX_BYTES + 1)
        except FileNotFoundError as error:
            raise NoSuchVersionError(f"{self.label} holds a run without a release yet; wait for its first") from error
        return capped(data, INDEX_MAX_BYTES, f"the index of {self.label}")

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
