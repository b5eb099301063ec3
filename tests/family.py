"""Fine-tunes of a small published run: saved as their authors save them, imported as a coordinator does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.write import CheckpointWriter, plan_shards
from barnraise.clock import now_ms
from barnraise.message import BlobRef
from barnraise.releases.catalog import Catalog
from barnraise.releases.convert import Stored, narrow
from barnraise.releases.derived.family import Family
from barnraise.releases.derived.imports import Imported, ImportRequest, import_model
from barnraise.releases.derived.manifest import DerivedManifest, ModelRef
from barnraise.releases.index import DerivedEntry, ReleaseIndex
from barnraise.releases.source import FolderSource
from barnraise.updates.space import TensorSpec
from published import SPACE, PublishedRun, published

__all__ = ["FamilyRun", "holds", "raw", "save", "tuned"]

Raw = NDArray[np.uint8]


def raw(flat_P: NDArray[np.float32], dtype: Stored = "F32") -> dict[TensorSpec, Raw]:
    """A model of the run's layout as tensors of a type."""
    views = SPACE.unflatten(flat_P)
    return {
        TensorSpec(spec.name, spec.shape, dtype): np.array(narrow(views[spec.name].reshape(-1), dtype))
        for spec in SPACE.tensors
    }


def tuned(flat_P: NDArray[np.float32], seed: int = 0, only: str | None = None) -> NDArray[np.float32]:
    """Weights a little away from others; those of one tensor only, where one is named."""
    change_P = 1e-4 * np.random.default_rng(seed).standard_normal(SPACE.size, dtype=np.float32)
    after_P = flat_P + change_P
    if only is not None:
        before, after = SPACE.unflatten(flat_P), SPACE.unflatten(after_P)
        for name in before:
            if name != only:
                after[name][...] = before[name]
    return after_P


def save(folder: Path, tensors: Mapping[TensorSpec, Raw], shard_bytes: int = 1 << 30, **files: str) -> Path:
    """A folder as Hugging Face writes it; ``files`` are beside the weights, by name without its end."""
    folder.mkdir(parents=True)
    specs = list(tensors)
    with CheckpointWriter(folder, specs, plan_shards(specs, shard_bytes)) as writer:
        for spec, data in tensors.items():
            writer.put(spec.name, 0, data)
        writer.finish()
    for name, text in files.items():
        (folder / name.replace("_dot_", ".")).write_text(text)
    return folder


def holds(folder: Path, original: Path) -> None:
    """Assert that a pulled folder has every tensor of what was imported, byte for byte."""
    found, expected = Checkpoint.open(folder), Checkpoint.open(original)
    assert [(t.name, t.dtype, t.shape) for t in found.tensors.values()] == [
        (t.name, t.dtype, t.shape) for t in expected.tensors.values()
    ]
    for name, tensor in expected.tensors.items():
        assert np.array_equal(found.block(name, 0, tensor.size), expected.block(name, 0, tensor.size)), name


@dataclass
class FamilyRun:
    """A run whose index lists derived models too."""

    run: PublishedRun
    now_ms: int
    derived: list[DerivedEntry] = field(default_factory=list)

    @classmethod
    def at(cls, root: Path, releases: int = 3, *, now: bool = False) -> FamilyRun:
        """A run with a trunk.

        Args:
            now: whether its lists are signed as of now, for clients that look at the clock.
        """
        family = cls(published(root, releases), now_ms() if now else 1_700_000_000_000)
        family.run.as_run_folder()
        return family

    def index(self) -> ReleaseIndex:
        return self.run.index().model_copy(update={"derived": tuple(self.derived)})

    def catalog(self) -> Catalog:
        """What the run's own folder leads to, blobs taken where they lie."""
        return Catalog(FolderSource(self.run.public), self.index(), self.run.store)

    def family(self) -> Family:
        return Family(self.catalog())

    def trunk(self, version: str) -> ModelRef:
        return self.family().ref(self.run.name, version)

    def imports(self, path: Path, name: str, parent: ModelRef, depth_most: int = 64, **said: Any) -> Imported:
        """Import and list."""
        request = ImportRequest(path, name, parent, at_ms=1_700_000_000_000, **said)
        done = import_model(request, self.catalog(), self.run.store, depth_most=depth_most)
        if done.is_new:
            self.lists(done.manifest, done.blob)
        return done

    def lists(self, manifest: DerivedManifest, blob: BlobRef) -> None:
        parent = manifest.lineage.parent
        entry = DerivedEntry(
            name=manifest.name,
            version=manifest.version,
            model_digest=manifest.model_digest,
            manifest=blob,
            parent_name=parent.name,
            parent_version=parent.version,
        )
        self.derived.append(entry)
        self.run.repository.publish(self.index(), self.now_ms)

    def blobs(self) -> set[str]:
        return {blob.digest for blob in self.run.store.stored()}

    def comes_back(self, done: Imported, path: Path) -> None:
        """Assert that every tensor is read as it was imported, byte for byte."""
        checkpoint, family = Checkpoint.open(path), self.family()
        assert [(t.name, t.dtype, t.shape) for t in done.manifest.tensors] == [
            (t.name, t.dtype, t.shape) for t in checkpoint.tensors.values()
        ]
        for name, tensor in checkpoint.tensors.items():
            found = family.read(done.manifest.ref, name)
            assert np.array_equal(found, checkpoint.block(name, 0, tensor.size)), name
