"""The coordinator's side: sign manifests and the index, and put them where mirrors look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnraise.identity import Identity
from barnraise.protocol import BlobRef, Signed
from barnraise.releases.durable import make_folder, replace_file
from barnraise.releases.index import ReleaseIndex
from barnraise.releases.manifest import Manifest, TensorEntry
from barnraise.releases.store import BlobStore
from barnraise.updates.space import ParameterSpace

__all__ = ["INDEX_FILE", "store_blob", "store_manifest", "tensor_entries", "write_index"]

INDEX_FILE = "index.json"


def tensor_entries(space: ParameterSpace, flat_P: NDArray[np.float32]) -> tuple[TensorEntry, ...]:
    """The manifest's list of tensors of a model, float32 [P]."""
    digests = space.tensor_digests(flat_P)
    return tuple(
        TensorEntry(name=spec.name, shape=spec.shape, digest=digest)
        for spec, digest in zip(space.tensors, digests, strict=True)
    )


def store_blob(store: BlobStore, data: bytes) -> BlobRef:
    """Put ``data`` and say what it is called.

    Raises:
        DiskFullError: no space left.
    """
    return BlobRef(digest=store.put(data), size_bytes=len(data))


def store_manifest(store: BlobStore, manifest: Manifest, identity: Identity) -> BlobRef:
    """Sign a manifest and put it. The same manifest and key give the same blob.

    Raises:
        DiskFullError: no space left.
    """
    return store_blob(store, Signed.make(manifest, identity).canonical())


def write_index(folder: Path, signed: Signed) -> None:
    """Replace ``folder/index.json``: readers see the old list or the new one.

    Args:
        signed: a signed :class:`ReleaseIndex`.

    Raises:
        DiskFullError: no space left; the old list stays.
    """
    signed.open(ReleaseIndex)
    make_folder(folder)
    replace_file(folder / INDEX_FILE, signed.canonical())
