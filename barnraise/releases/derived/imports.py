"""Import a fine-tune: its tensors stored, its manifest made, and nothing listed yet.

What this leaves are blobs that nothing names: listing them in the run's index is one event of
the ledger, and until then they are garbage that the next try uses and a collection removes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.folder import ADAPTER_CONFIG, travelling
from barnraise.errors import BadNameError, NotACheckpointError, UsageError
from barnraise.message import BlobRef, check_run_name
from barnraise.releases.catalog import Catalog
from barnraise.releases.derived.adapters import check_adapter, is_adapter
from barnraise.releases.derived.family import Family
from barnraise.releases.derived.known import KnownTensors
from barnraise.releases.derived.manifest import (
    DerivedManifest,
    Lineage,
    ModelRef,
    Relation,
    TravellingFile,
)
from barnraise.releases.derived.names import derived_entries, read_derived_manifest
from barnraise.releases.derived.page import page_of
from barnraise.releases.derived.storing import StoredModel, Storing
from barnraise.releases.derived.version import next_derived_version
from barnraise.releases.publish import store_blob
from barnraise.releases.store import BlobStore
from barnraise.updates.space import ParameterSpace, model_digest

__all__ = ["ImportRequest", "Imported", "import_model"]


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What is imported, and what is said of it.

    Attributes:
        path: a safetensors file, or a folder as Hugging Face or peft writes it.
        relation: None takes what it looks like: an adapter, or else a fine-tune.
        licence: as its authors state it.
    """

    path: Path
    name: str
    parent: ModelRef
    relation: Relation | None = None
    licence: str = ""
    note: str = ""
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Imported:
    """An import whose blobs are all stored.

    Attributes:
        is_new: False when exactly this is listed already, under the version that ``manifest`` has.
        written_bytes: of blobs that were not there before, the manifest's among them.
    """

    manifest: DerivedManifest
    blob: BlobRef
    is_new: bool
    written_bytes: int
    model_bytes: int


def import_model(
    request: ImportRequest,
    catalog: Catalog,
    store: BlobStore,
    *,
    depth_most: int,
    told: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Store a model and its manifest.

    Args:
        catalog: the run as it is. store: where its blobs lie.
        depth_most: differences below a tensor, at most. told: called with bytes as they are done.

    Raises:
        UsageError: the name is the trunk's, or none that a model can have.
        NotACheckpointError: no model there, or one with names that cannot be kept.
        DiskFullError: no space left; the next try goes on from what was stored.
        ReleaseError, StorageError, NetworkError: the parent cannot be read.
    """
    _check_name(request.name, catalog.index.name)
    checkpoint = Checkpoint.open(request.path, adapters=True)
    _check_tensors(checkpoint)
    family = Family(catalog)
    if is_adapter(checkpoint):
        check_adapter(checkpoint, family.manifest(request.parent).space, request.parent)
    request = replace(request, relation=request.relation or ("adapter" if is_adapter(checkpoint) else "fine-tune"))
    earlier = [read_derived_manifest(catalog, entry) for entry in derived_entries(catalog.index, request.name)]
    storing = Storing(family, _known(family, request.parent), store, depth_most, told)
    stored = storing.model(checkpoint, request.parent)
    lineage = _lineage(request, stored)
    page = store_blob(store, page_of(checkpoint.folder, request.name, lineage, request.licence))
    manifest = _manifest(request, stored, _files(checkpoint, store), earlier, page)
    for before in earlier:
        if _content(before) == _content(manifest):
            same = BlobRef(digest=store.put(before.canonical()), size_bytes=len(before.canonical()))
            return Imported(before, same, False, stored.written_bytes, stored.model_bytes)
    blob = store_blob(store, manifest.canonical())
    return Imported(manifest, blob, True, stored.written_bytes + blob.size_bytes, stored.model_bytes)


def _check_name(name: str, trunk: str) -> None:
    try:
        check_run_name(name)
    except BadNameError as error:
        raise UsageError(f"{name[:64]!a} cannot be a model's name: {error}. Choose another with --as") from error
    if name == trunk:
        raise UsageError(f"{name} is the trunk's own name; choose another with --as")


def _check_tensors(checkpoint: Checkpoint) -> None:
    for name in checkpoint.tensors:
        if not 1 <= len(name) <= 256 or not name.isascii() or not name.isprintable():
            raise NotACheckpointError(f"{checkpoint.path}: a tensor is called {name[:64]!a}; expected printable ASCII")


def _known(family: Family, parent: ModelRef) -> KnownTensors:
    """Every tensor of the run, the parent's first, then those of derived models, newest first."""
    index = family.catalog.index
    derived = [ModelRef(name=e.name, version=e.version, model_digest=e.model_digest) for e in index.derived]
    trunk = [ModelRef(name=index.name, version=e.version, model_digest=e.model_digest) for e in index.releases]
    return KnownTensors.of((ref, family.manifest(ref)) for ref in [parent, *reversed(derived), *reversed(trunk)])


def _files(checkpoint: Checkpoint, store: BlobStore) -> tuple[TravellingFile, ...]:
    if checkpoint.folder is None:
        return ()
    stated = [checkpoint.folder / ADAPTER_CONFIG] if is_adapter(checkpoint) else []
    return tuple(
        TravellingFile(name=path.name, blob=store_blob(store, path.read_bytes()))
        for path in [*stated, *travelling(checkpoint.folder)]
    )


def _manifest(
    request: ImportRequest,
    stored: StoredModel,
    files: tuple[TravellingFile, ...],
    earlier: Sequence[DerivedManifest],
    page: BlobRef,
) -> DerivedManifest:
    space = ParameterSpace(tuple(tensor.spec for tensor in stored.tensors))
    version, reason = next_derived_version(earlier, space, request.parent.name)
    return DerivedManifest(
        name=request.name,
        version=version,
        model_digest=model_digest(space, [tensor.digest for tensor in stored.tensors]),
        lineage=_lineage(request, stored),
        bases=stored.bases,
        tensors=stored.tensors,
        files=files,
        card=page,
        licence=request.licence,
        reason=reason,
        created_at_ms=request.at_ms,
    )


def _lineage(request: ImportRequest, stored: StoredModel) -> Lineage:
    assert request.relation is not None, "it was found out"
    return Lineage(
        relation=request.relation,
        parent=request.parent,
        unchanged=stored.unchanged,
        changed=stored.changed,
        own=stored.own,
        note=request.note,
    )


def _content(manifest: DerivedManifest) -> dict[str, Any]:
    """What an import says, apart from when and under which number."""
    return manifest.model_dump(include={"model_digest", "lineage", "files", "card", "licence"})
