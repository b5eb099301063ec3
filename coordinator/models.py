"""Whole models on the coordinator's disk, named by their model digest, so that nothing is decoded twice.

Only a cache: every model in it can be rebuilt from a keyframe and patches. A file that does
not match its name is thrown away, never used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import is_digest
from barnraise.errors import BlobMissingError
from barnraise.releases.durable import make_folder, replace_file
from barnraise.updates.space import ParameterSpace, model_digest

__all__ = ["ModelCache"]


@dataclass(frozen=True)
class ModelCache:
    """Flat float32 vectors in ``folder``, one file a model."""

    folder: Path
    space: ParameterSpace

    def put(self, flat_P: NDArray[np.float32]) -> str:
        """Store a model (float32 [P]) and return its digest."""
        digest = model_digest(self.space, self.space.tensor_digests(flat_P))
        if not self._use(digest):
            make_folder(self.folder)
            replace_file(self.path(digest), np.ascontiguousarray(flat_P, dtype="<f4").tobytes())
        return digest

    def get(self, digest: str) -> NDArray[np.float32]:
        """A read-only memory map, float32 [P].

        Raises:
            BlobMissingError: not in the cache, or its file was damaged (and is removed).
        """
        path = self.path(digest)
        try:
            flat_P = np.memmap(path, dtype="<f4", mode="r", shape=(self.space.size,))
        except (FileNotFoundError, ValueError) as error:
            raise BlobMissingError(f"model {digest[:16]}.. is not in {self.folder}") from error
        return flat_P

    def verified(self, digest: str) -> NDArray[np.float32]:
        """As :meth:`get`, after hashing every byte."""
        flat_P = self.get(digest)
        found = model_digest(self.space, self.space.tensor_digests(flat_P))
        if found != digest:
            self.path(digest).unlink(missing_ok=True)
            raise BlobMissingError(f"model {digest[:16]}.. was damaged on disk (it is {found[:16]}..) and is removed")
        self._use(digest)
        return flat_P

    def keep_only(self, digests: Iterable[str]) -> None:
        """Remove every other model."""
        wanted = {self.path(digest).name for digest in digests}
        for path in self.folder.glob("*.f32"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def _use(self, digest: str) -> bool:
        """Make a model's file young, so that garbage collection leaves it; whether there is one."""
        try:
            os.utime(self.path(digest))
        except FileNotFoundError:
            return False
        return True

    def path(self, digest: str) -> Path:
        assert is_digest(digest), digest
        return self.folder / f"{digest[3:]}.f32"
