"""Tensors that a run has already, found by what they are: an equal one is never stored again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from barnraise.message import BlobRef
from barnraise.releases.derived.manifest import DerivedManifest, ModelRef
from barnraise.releases.manifest import Manifest

__all__ = ["KnownTensors", "Stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """How a tensor can be had: as in :class:`~barnraise.releases.derived.manifest.DerivedTensor`."""

    blob: BlobRef | None
    base: tuple[ModelRef, str] | None
    depth: int


class KnownTensors:
    """Type and digest of a tensor -> how it can be had. Of several ways the first that was told is kept."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Stored] = {}

    def tell(self, ref: ModelRef, manifest: Manifest | DerivedManifest) -> None:
        """Take in all tensors of a model."""
        if isinstance(manifest, Manifest):
            for entry in manifest.tensors:
                self._found.setdefault((entry.dtype, entry.digest), Stored(None, (ref, entry.name), 0))
            return
        for tensor in manifest.tensors:
            base = (manifest.bases[tensor.base.of], tensor.base.name) if tensor.base is not None else None
            self._found.setdefault((tensor.dtype, tensor.digest), Stored(tensor.blob, base, tensor.depth))

    def find(self, dtype: str, digest: str) -> Stored | None:
        """A tensor of this type with these bytes, if the run has one. Its shape says nothing about its bytes."""
        return self._found.get((dtype, digest))

    @classmethod
    def of(cls, models: Iterable[tuple[ModelRef, Manifest | DerivedManifest]]) -> KnownTensors:
        """All tensors of some models, those that should be built upon first."""
        known = cls()
        for ref, manifest in models:
            known.tell(ref, manifest)
        return known
