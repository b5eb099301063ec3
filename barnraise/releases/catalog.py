"""What a source's index leads to, every byte verified: blobs are named by their digest.

Blobs go through a store, so that a transfer which was interrupted goes on where it ended and
what is there already is not fetched again. What is there is compared with its digest before it
is used, once by each catalog: disks forget, too.

The blobs of a model whose every tensor is compared in the end need not be compared before, nor be
copied: they may be believed, and read where they lie if that is a folder on the store's disk. If
the model then is not what it should be, :meth:`Catalog.doubt` finds out whether one of them was
at fault, and what is damaged is fetched.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from barnraise.digest import digest_file
from barnraise.errors import BarnraiseError, BlobMissingError, NetworkError, NoSuchVersionError, VerificationError
from barnraise.message import BlobRef
from barnraise.releases.blob_file import BlobFile
from barnraise.releases.fetch import Fetcher, FetchOptions, Progress
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.manifest import Manifest, read_manifest
from barnraise.releases.source import MANIFEST_MAX_BYTES, FolderSource, ReleaseSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import Trusted, TrustOptions, read_index

__all__ = ["Catalog", "read_first_index"]

TRIES = 5
Used = TypeVar("Used", memoryview, BlobFile)


class Catalog:
    """An index that was checked, and what it leads to.

    Attributes:
        index: the releases.
        store: blobs that were fetched and verified.
    """

    def __init__(
        self,
        source: ReleaseSource,
        index: ReleaseIndex,
        store: BlobStore,
        *,
        mirrors: Sequence[ReleaseSource] = (),
        options: FetchOptions | None = None,
    ) -> None:
        self.index = index
        self.store = store
        self._folders = [each for each in (source, *mirrors) if isinstance(each, FolderSource)]
        self._others = 1 + len(mirrors) - sum(each.holds(store) for each in self._folders)
        self._fetcher = Fetcher([source, *mirrors], store, options)
        self._ahead = Fetcher([source, *mirrors], store, options)
        self._one_at_a_time = threading.Lock()
        self._arriving: frozenset[str] = frozenset()
        self._verified: set[str] = set()
        self._believed: dict[str, BlobRef] = {}
        self._in_place: dict[str, Path] = {}

    @property
    def fetched_bytes(self) -> int:
        """Read from all sources so far, lists and metadata apart."""
        return self._fetcher.fetched_bytes + self._ahead.fetched_bytes

    @property
    def warnings(self) -> list[str]:
        """What was wrong with sources, although all went well in the end."""
        return [*self._fetcher.warnings, *self._ahead.warnings]

    def has(self, ref: BlobRef, *, check: bool = True) -> bool:
        """Whether a blob is at hand, and undamaged unless that is not to be checked."""
        return ref.digest in self._in_place or self._has_stored(ref, check)

    def believe(self, refs: Collection[BlobRef], *, in_place: bool = False) -> None:
        """Do not compare blobs that are at hand with their digests, because what comes of them will be.

        Args:
            in_place: whether those that lie in a folder on the store's disk may be read there, by :meth:`open`.
        """
        for ref in refs:
            self._believed[ref.digest] = ref
            if in_place and not self.store.has(ref.digest) and (path := self._place(ref)) is not None:
                self._in_place[ref.digest] = path

    def doubt(self) -> bool:
        """Compare what was believed; whether any of it was damaged. That is fetched from now on."""
        believed, self._believed = self._believed, {}
        damaged = False
        for ref in believed.values():
            if (path := self._in_place.get(ref.digest)) is not None:
                if not _is_undamaged(path, ref):
                    del self._in_place[ref.digest]
                    damaged = True
            elif self.store.has(ref.digest) and not self.has(ref):
                damaged = True
        return damaged

    def _has_stored(self, ref: BlobRef, check: bool) -> bool:
        if ref.digest in self._verified or ref.digest in self._believed or not (check and self.store.has(ref.digest)):
            return self.store.has(ref.digest)
        if _is_undamaged(self.store.path(ref.digest), ref):
            self._verified.add(ref.digest)
        return ref.digest in self._verified

    def _place(self, ref: BlobRef) -> Path | None:
        """A file that may be the blob, in a folder on the store's disk."""
        for folder in self._folders:
            path = folder.path(ref.digest)
            with suppress(OSError):
                found = path.stat()
                if (found.st_dev, found.st_size) == (self._disk, ref.size_bytes) and os.access(path, os.R_OK):
                    return path
        return None

    @cached_property
    def _disk(self) -> int:
        """Of the store, or of the folder in which it will be made."""
        root = self.store.root.absolute()
        return next(at.stat().st_dev for at in (root, *root.parents) if at.is_dir())

    def fetch(self, refs: Collection[BlobRef], progress: Progress | None = None) -> None:
        """Have blobs in the store, verified; several are fetched at a time.

        Raises:
            VerificationError: the sources sent something else; it is discarded.
            BlobMissingError, NetworkError: no source has it, or can be reached.
            DiskFullError: no space left.
        """
        if missing := self._missing(refs):
            with self._one_at_a_time:
                self._fetcher.fetch(missing, progress)
            self._verified.update(ref.digest for ref in missing)

    @contextmanager
    def fetching(self, refs: Collection[BlobRef], progress: Progress | None = None) -> Iterator[None]:
        """Fetch while the block runs, in which :meth:`blob` waits for a blob that is still on its way.

        Raises:
            See :meth:`fetch`; at the end of the block, or from :meth:`blob`.
        """
        missing = self._missing(refs)
        self._arriving = frozenset(ref.digest for ref in missing)
        with self._ahead.fetching(missing, progress):
            yield
        self._verified.update(self._arriving)  # after a failure whoever still waits hears of that
        self._arriving = frozenset()

    def _missing(self, refs: Collection[BlobRef]) -> list[BlobRef]:
        missing = [ref for ref in refs if not self.has(ref)]
        for ref in missing:
            if not self._others and self.store.has(ref.digest):
                raise VerificationError(f"{self.store.path(ref.digest)} is damaged, and there is nowhere else to look")
            self.store.delete(ref.digest)  # damaged, if it is there at all
        return missing

    def blob(self, ref: BlobRef) -> memoryview:
        """A blob, fetched if need be, and verified either way.

        Raises:
            See :meth:`fetch`.
        """
        return self._stored(ref, lambda: self.store.map(ref.digest))

    def open(self, ref: BlobRef) -> BlobFile:
        """A blob's file, fetched if need be. What is read of it is verified by whoever said :meth:`believe`.

        Raises:
            See :meth:`fetch`.
        """
        if (path := self._in_place.get(ref.digest)) is not None:
            try:
                return BlobFile(path, ref.size_bytes)
            except (OSError, VerificationError):  # removed or replaced meanwhile
                self._in_place.pop(ref.digest, None)
        return self._stored(ref, lambda: BlobFile(self.store.path(ref.digest), ref.size_bytes))

    def _stored(self, ref: BlobRef, use: Callable[[], Used]) -> Used:
        """A use of a blob that is in the store, fetched if need be."""
        if ref.digest in self._arriving:
            self._ahead.wait_for(ref.digest)
            self._verified.add(ref.digest)
        for _ in range(TRIES):
            self.fetch([ref])
            with suppress(BlobMissingError, FileNotFoundError):  # another pull has just made room
                return use()
        return use()

    def manifest(self, entry: IndexEntry) -> Manifest:
        """The manifest of a listed release.

        Raises:
            VerificationError: it is not, or it describes something else than the index does.
        """
        what = f"the manifest of {entry.version}"
        if entry.manifest.size_bytes > MANIFEST_MAX_BYTES:
            raise VerificationError(f"{what} has {entry.manifest.size_bytes:,} bytes; that is not one of ours")
        manifest = read_manifest(self.blob(entry.manifest), what)
        found = (manifest.name, manifest.version, manifest.model_digest, manifest.keyframe, manifest.patch)
        if found != (self.index.name, entry.version, entry.model_digest, entry.keyframe, entry.patch):
            raise VerificationError(f"{what} describes another release than the index does; use another mirror")
        return manifest


def _is_undamaged(path: Path, ref: BlobRef) -> bool:
    try:
        return digest_file(path) == ref.digest
    except OSError:  # another process made room, or it cannot be read
        return False


def read_first_index(
    sources: Sequence[ReleaseSource], trust: TrustOptions | None
) -> tuple[Trusted, list[ReleaseSource], list[str]]:
    """The lists of the first source whose lists hold.

    Returns:
        They, the sources with that one first, and warnings of those before it.

    Raises:
        VerificationError, NoSuchVersionError, NetworkError, StorageError: as the first source
            failed, when all did (see :func:`~barnraise.releases.trust.read_index`).
    """
    failed: list[BarnraiseError] = []
    for number, source in enumerate(sources):
        try:
            trusted = read_index(source, trust)
        except (VerificationError, NoSuchVersionError, NetworkError, BlobMissingError) as error:
            failed.append(error)
            continue
        others = [*sources[number + 1 :], *sources[:number]]
        return trusted, [source, *others], [f"{error}; {source.label} was asked instead" for error in failed]
    raise failed[0]
