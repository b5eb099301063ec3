"""Blobs of one commit on their way to the disk: each is begun at once, and all are waited for together.

    put --> the disk begins .. put --> the disk begins .. the block ends: fsync each, name each, settle all folders

What a state names must survive a power cut before the state does. That needs every blob on the disk when the block
ends, and no sooner: so the disk works while the next blob is still computed. A kill leaves nothing but files that
nobody names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import digest_bytes
from barnraise.releases.store import BlobStore

__all__ = ["Keeping", "keeping"]


class Keeping:
    """What is to be kept in a store by the end of the block. :func:`keeping` makes one."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._begun: list[tuple[Path, str]] = []

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

    def settle(self) -> None:
        """Wait until the disk has all of it."""
        for path, digest in self._begun:
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
