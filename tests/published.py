"""A small run with releases, published as a coordinator does it: for tests of pulling and of the command."""

from __future__ import annotations

import os
import shutil
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnraise.clock import now_ms
from barnraise.digest import canonical_json
from barnraise.message import BlobRef
from barnraise.model_config import ByteLMConfig
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.keyframe import write_keyframe
from barnraise.releases.lineage import Lineage, LineageParent, measure_change
from barnraise.releases.manifest import Manifest, MergedUpdate, ParentRef, ReleaseFile
from barnraise.releases.publish import store_blob, store_manifest, tensor_entries
from barnraise.releases.repository import Repository
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.update_config import CodecConfig
from barnraise.updates import EncodedSegment, ParameterSpace, TensorSpec, model_digest, write_update

SPACE = ParameterSpace.of([TensorSpec("blocks.0.weight", (30, 40)), TensorSpec("embedding", (256, 8))])
NAME = "tiny-lm"
MERGED = MergedUpdate(digest="b3:" + "1" * 64, contributor="2" * 64, size_bytes=1000, weight=1.0)
SIDE_FILES = {"config.json": b'{"model_type": "tiny"}\n', "vocab.txt": b"a\nb\n"}
REPORT_ROW = {
    "mean": 3.0,
    "base_mean": 3.1,
    "effect": -0.1,
    "low": -0.2,
    "high": 0.01,
    "p": 0.001,
    "passed": True,
    "unit": "bits per byte",
    "supported": True,
}


def dense_patch(base_digest: str, change_P: NDArray[np.float32], role: str = "patch") -> bytes:
    """A patch file with every element, float32 [P]."""
    segments = []
    for index in range(SPACE.segment_count):
        start, end = SPACE.segment_range(index)
        segments.append(EncodedSegment(b"", change_P[start:end].astype("<f4").tobytes(), b""))
    return write_update(SPACE, base_digest, CodecConfig(name="dense"), segments, role=role)  # type: ignore[arg-type]


@dataclass
class PublishedRun:
    """Releases in ``root/public``; the newest model is ``flat_P``."""

    root: Path
    name: str = NAME
    entries: list[IndexEntry] = field(default_factory=list)
    channels: dict[str, str] = field(default_factory=dict)
    models: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def public(self) -> Path:
        return RunFolder(self.root).public

    @property
    def store(self) -> BlobStore:
        return BlobStore(self.public)

    def release(self, version: str, *, keyframe: bool = False, yanked: str | None = None) -> IndexEntry:
        """Publish a next release: the first as a keyframe, later ones as patches (and a keyframe if asked)."""
        parent = self.entries[-1] if self.entries else None
        draws = np.random.default_rng(len(self.entries))
        change_P = draws.standard_normal(SPACE.size, dtype=np.float32)
        flat_P = self.models[parent.version] + change_P if parent else change_P
        patch = store_blob(self.store, dense_patch(parent.model_digest, change_P)) if parent else None
        whole = store_blob(self.store, write_keyframe(SPACE, flat_P)) if keyframe or not parent else None
        digest = model_digest(SPACE, SPACE.tensor_digests(flat_P))
        manifest = self.manifest(version, flat_P, parent, whole, patch)
        entry = IndexEntry(
            version=version,
            model_digest=digest,
            manifest=store_manifest(self.store, manifest),
            parent=parent.version if parent else None,
            keyframe=whole,
            patch=patch,
            yanked=yanked,
        )
        self.models[version] = flat_P
        self.entries.append(entry)
        self.channels["nightly"] = version
        self.write_index()
        return entry

    def manifest(
        self,
        version: str,
        flat_P: NDArray[np.float32],
        parent: IndexEntry | None,
        keyframe: BlobRef | None,
        patch: BlobRef | None,
    ) -> Manifest:
        return Manifest(
            name=self.name,
            version=version,
            parent=ParentRef(version=parent.version, model_digest=parent.model_digest) if parent else None,
            model_digest=model_digest(SPACE, SPACE.tensor_digests(flat_P)),
            tensors=tensor_entries(SPACE, flat_P),
            model=ByteLMConfig(dim=8, layers=1, heads=1),
            keyframe=keyframe,
            patch=patch,
            acceptance=store_blob(self.store, canonical_json({"tests": {"loss-text": REPORT_ROW}})),
            config=store_blob(self.store, canonical_json({"run": {}})),
            card=store_blob(self.store, f"# {self.name} {version}\n".encode()),
            lineage=store_blob(self.store, self.lineage(version, flat_P, parent).canonical()),
            files=tuple(
                ReleaseFile(name=name, blob=store_blob(self.store, data)) for name, data in sorted(SIDE_FILES.items())
            ),
            updates=(MERGED,) if parent else (),
            licence="Apache-2.0",
            round=len(self.entries),
            bump="patch" if parent else "first",
            reason="same architecture and signature, and no supported test is worse",
            supported_tests=("loss-text",),
            created_at_ms=1_700_000_000_000,
        )

    def lineage(self, version: str, flat_P: NDArray[np.float32], parent: IndexEntry | None) -> Lineage:
        before_P = self.models[parent.version] if parent else None
        base = {"relation": "base", "name": self.name}
        return Lineage(
            name=self.name,
            version=version,
            model_digest=model_digest(SPACE, SPACE.tensor_digests(flat_P)),
            parents=(LineageParent(**base, version=parent.version, model_digest=parent.model_digest),)
            if parent
            else (),
            round=len(self.entries),
            merged_by=("mean", "none") if parent else (),
            updates=(MERGED,) if parent else (),
            bump="patch" if parent else "first",
            reason="same architecture and signature, and no supported test is worse",
            change=measure_change(SPACE, before_P, flat_P),
        )

    def index(self) -> ReleaseIndex:
        return ReleaseIndex(
            name=self.name,
            releases=tuple(self.entries),
            channels=self.channels,
        )

    @property
    def repository(self) -> Repository:
        """The run's signed metadata; keys are made on first use, and metadata is signed as of now."""
        return Repository.found(RunFolder(self.root), self.name, now_ms())

    def write_index(self) -> None:
        self.repository.publish(self.index(), now_ms())

    def as_run_folder(self) -> Path:
        """Make the root look like a coordinator's folder."""
        RunFolder(self.root).config.write_text('name = "tiny-lm"\n')
        return self.root


@cache
def _made(releases: int, stranger: bool) -> PublishedRun:
    shared = Path(os.environ["BARNRAISE_TESTS_SHARED"])  # conftest.py says where
    run = PublishedRun(shared / f"{'strange' if stranger else 'published'}-{releases}")
    for number in range(releases):
        run.release(f"0.1.{number}")
    return run


def published(root: Path, releases: int = 4, *, stranger: bool = False) -> PublishedRun:
    """A run with ``releases`` releases: 0.1.0 as a keyframe, the others as patches.

    It is made once and copied, keys and all. A stranger has the same releases under other keys.
    """
    made = _made(releases, stranger)
    shutil.copytree(made.root, root, dirs_exist_ok=True)
    return replace(deepcopy(made), root=root)
