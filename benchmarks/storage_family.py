"""How much do ten fine-tunes of one parent take? One of the questions of storage.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.write import CheckpointWriter, plan_shards
from barnraise.clock import now_ms
from barnraise.config import RunConfig, bundled_config, load_run_config
from barnraise.corpus import Corpus
from barnraise.model_config import ByteLMConfig
from barnraise.releases.cache import Cache
from barnraise.releases.catalog import Catalog
from barnraise.releases.convert import Stored, narrow
from barnraise.releases.derived.imports import Imported, ImportRequest, import_model
from barnraise.releases.derived.names import find_model
from barnraise.releases.index import DerivedEntry, IndexEntry, ReleaseIndex
from barnraise.releases.keyframe import write_keyframe
from barnraise.releases.manifest import Manifest
from barnraise.releases.publish import store_blob, store_manifest, tensor_entries
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.repository import Repository
from barnraise.releases.source import FolderSource
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.updates import ParameterSpace, TensorSpec, model_digest
from merge.architectures import build, flat_of, load_flat, space_of

__all__ = ["Family", "Trainer", "compare", "family", "save"]


class Trainer:
    """A model that goes on learning, a few AdamW steps at a time, on text of its own."""

    def __init__(self, config: RunConfig, space: ParameterSpace, shard: str, seed: int) -> None:
        self.module = build(config.model)
        self.space = space
        self.text = np.frombuffer(Corpus.of(config.data).text(shard, "train"), dtype=np.uint8)
        self.draws = np.random.default_rng(seed)
        self.width = config.model.context + 1
        self.rate = config.training.learning_rate

    def trained(self, base_P: NDArray[np.float32], steps: int, rate: float | None = None) -> NDArray[np.float32]:
        """float32 [P], the weights after some steps from ``base_P``."""
        load_flat(self.module, self.space, base_P)
        optimiser = torch.optim.AdamW(self.module.parameters(), lr=rate or self.rate, betas=(0.9, 0.99))
        for _ in range(steps):
            starts = self.draws.integers(0, len(self.text) - self.width, 4)
            windows = np.stack([self.text[at : at + self.width] for at in starts])
            optimiser.zero_grad()
            self.module.loss(torch.from_numpy(windows)).backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            optimiser.step()
        return flat_of(self.module, self.space)


@dataclass
class Family:
    """A published run with one release, and models derived from it."""

    folder: RunFolder
    space: ParameterSpace
    index: ReleaseIndex

    @classmethod
    def at(cls, root: Path, space: ParameterSpace, flat_P: NDArray[np.float32]) -> Family:
        folder = RunFolder(root)
        folder.create()
        folder.config.write_bytes(bundled_config("stdlib-lm").read_bytes())
        store = BlobStore(folder.public)
        whole = store_blob(store, write_keyframe(space, flat_P))
        document = store_blob(store, b"{}")
        manifest = Manifest(
            name="trunk",
            version="0.1.0",
            parent=None,
            model_digest=model_digest(space, space.tensor_digests(flat_P)),
            tensors=tensor_entries(space, flat_P),
            model=ByteLMConfig(),
            keyframe=whole,
            patch=None,
            acceptance=document,
            config=document,
            card=document,
            lineage=document,
            files=(),
            updates=(),
            licence="Apache-2.0",
            round=0,
            bump="first",
            reason="made up",
            supported_tests=(),
            created_at_ms=1,
        )
        entry = IndexEntry(
            version="0.1.0",
            model_digest=manifest.model_digest,
            manifest=store_manifest(store, manifest),
            parent=None,
            keyframe=whole,
            patch=None,
        )
        family = cls(folder, space, ReleaseIndex(name="trunk", releases=(entry,)))
        family.publish()
        return family

    @property
    def store(self) -> BlobStore:
        return BlobStore(self.folder.public)

    def publish(self) -> None:
        Repository.found(self.folder, "trunk", now_ms()).publish(self.index, now_ms())

    def imports(self, path: Path, name: str) -> Imported:
        """Store and list a fine-tune of the trunk."""
        catalog = Catalog(FolderSource(self.folder.root), self.index, self.store)
        parent = self.index.releases[0]
        request = ImportRequest(path, name, find_model(self.index, "trunk"), at_ms=1)
        done = import_model(request, catalog, self.store, depth_most=64)
        entry = DerivedEntry(
            name=name,
            version=done.manifest.version,
            model_digest=done.manifest.model_digest,
            manifest=done.blob,
            parent_name="trunk",
            parent_version=parent.version,
        )
        self.index = self.index.model_copy(update={"derived": (*self.index.derived, entry)})
        self.publish()
        return done

    def pulls(self, name: str, into: Path, cache: Path) -> None:
        """As a consumer pulls whose cache has the parent and nothing of the child."""
        pull(FolderSource(self.folder.root), name, into, PullOptions(cache=Cache(cache, 1 << 40)))


def save(path: Path, space: ParameterSpace, flat_P: NDArray[np.float32], dtype: Stored) -> Path:
    """A safetensors file of a model, in a folder."""
    path.mkdir()
    specs = [TensorSpec(spec.name, spec.shape, dtype) for spec in space.tensors]
    views = space.unflatten(flat_P)
    with CheckpointWriter(path, specs, plan_shards(specs, 1 << 40)) as writer:
        for spec in specs:
            writer.put(spec.name, 0, np.ascontiguousarray(narrow(views[spec.name].reshape(-1), dtype)))
        writer.finish()
    return path


def compare(one: Path, other: Path) -> None:
    """Stop unless both folders hold the same tensors, byte for byte."""
    first, second = Checkpoint.open(one), Checkpoint.open(other)
    assert list(first.tensors) == list(second.tensors)
    for name, tensor in first.tensors.items():
        assert np.array_equal(first.block(name, 0, tensor.size), second.block(name, 0, tensor.size)), name


def family(folder: Path, children: int, steps: int, model: ByteLMConfig | None) -> list[str]:
    """Fine-tunes of one parent, stored together."""
    config = load_run_config(bundled_config("stdlib-lm"))
    config = config.model_copy(update={"model": model}) if model else config
    shards = list(config.data.shards)
    module = build(config.model)
    space = space_of(module)
    base_P = Trainer(config, space, shards[0], 0).trained(flat_of(module, space), 10 * steps)
    kin = Family.at(folder / "family", space, base_P)
    start_P = torch.from_numpy(base_P).bfloat16().float().numpy()
    rows, total, stored = [], 0, 0
    before = sum(blob.size_bytes for blob in kin.store.stored())
    for number in range(children):
        tuned_P = Trainer(config, space, shards[number % len(shards)], 10 + number).trained(start_P, steps, 2e-5)
        path = save(folder / f"child-{number}", space, tuned_P, "BF16")
        kin.imports(path, f"child-{number}")
        size = Checkpoint.open(path).size_bytes
        now = sum(blob.size_bytes for blob in kin.store.stored())
        rows.append(f"| child-{number} | {size:,} | {now - before:,} | {size / (now - before):.1f} |")
        total, stored, before = total + size, stored + now - before, now
        kin.pulls(f"child-{number}", folder / "pulled", folder / "cache")
        compare(path, folder / "pulled")
    return [
        f"## {children} fine-tunes of one parent",
        "",
        f"{space.size:,} parameters; each child is {steps} AdamW steps at 2e-5 from the parent rounded to "
        "bfloat16, in float32, on a domain",
        "of its own, saved in bfloat16; imported against the float32 parent, pulled again and compared.",
        "",
        "| model | bytes of its own | bytes stored for it | times fewer |",
        "|---|---:|---:|---:|",
        *rows,
        f"| **all children** | {total:,} | {stored:,} | {total / stored:.1f} |",
        "",
    ]
