"""Blobs of one commit on their way to the disk: each is begun at once, and all are waited for together.

    put --> the disk begins .. put --> the disk begins .. the block ends: fsync each, name each, settle all folders

What a state names must survive a power cut before the state does. That needs every blob on the disk when the block
ends, and no sooner: so the disk works while the next blob is still computed. A kill leaves nothing but files that
nobody names.

AdamW's moments are named too, and are the exception: they are compared with their digest before use, and dropped where
they are damaged. The system writes them when it likes. A kill loses nothing of them; a power cut may, and costs the
next unit a fresh start of AdamW.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import digest_bytes
from barnraise.releases.durable import fsync_file
from barnraise.releases.store import BlobStore

__all__ = ["Keeping", "keeping"]


class Keeping:
    """What is to be kept in a store by the end of the block. :func:`keeping` makes one."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._begun: list[tuple[Path, str]] = []
        self._unhurried = BlobStore(store.root, durable=False)
        self._dispensable: set[str] = set()

    def put(self, data: bytes | memoryview) -> str:
        """Begin to store ``data``; its digest.

        Raises:
            DiskFullError: no space left.
        """
        digest = digest_bytes(data)
        self._begun.append((self._store.write_beside(data), digest))
        return digest

    def put_vector(self, vector_P: NDArray[np.float32]) -> str:
        """Begin to store a float32 [P] vector; its digest."""
        return self.put(np.ascontiguousarray(vector_P, dtype="<f4").data.cast("B"))

    def put_dispensable(self, vector_P: NDArray[np.float32]) -> str:
        """Store a float32 [P] vector that a power cut may take, or tear; its digest.

        Raises:
            DiskFullError: no space left.
        """
        digest = self._unhurried.put(np.ascontiguousarray(vector_P, dtype="<f4").data.cast("B"))
        self._dispensable.add(digest)
        return digest

    def settle(self) -> None:
        """Wait until the disk has all of it."""
        for path, digest in self._begun:
            if digest in self._dispensable:  # the same bytes, and a store takes what has a name for settled
                fsync_file(self._store.path(digest))
            self._store.adopt(path, digest, settle=False)
        self._store.settle(digest for _, digest in self._begun)

    def discard(self) -> None:
        """Remove what was begun and is no blob."""
        for path, _ in self._begun:
            path.unlink(missing_ok=True)


@contextmanager
def keeping(store: BlobStore) -> Iterator[Keeping]:
    """Blobs that are put inside the block survive a power cut once it has ended.

    Raises:
        DiskFullError: no space left; whoever tries again puts all of them again.
    """
    kept = Keeping(store)
    try:
        yield kept
        kept.settle()
    finally:
        kept.discard()
