"""The coordinator's side: put the blobs of a release where mirrors look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.message import BlobRef
from barnraise.releases.manifest import Manifest, TensorEntry
from barnraise.releases.store import BlobStore
from barnraise.updates.space import ParameterSpace

__all__ = ["store_blob", "store_manifest", "tensor_entries"]


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


def store_manifest(store: BlobStore, manifest: Manifest) -> BlobRef:
    """Put a manifest. The same manifest gives the same blob.

    Raises:
        DiskFullError: no space left.
    """
    return store_blob(store, manifest.canonical())
