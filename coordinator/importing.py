"""Import a model into a run: blobs by this process, the index by whoever holds the run.

The blobs are written here, a coordinator running or not; one order then lists the model. What a
killed import leaves is found again by the next try, and is garbage otherwise. While one import
is under way there is no other and no garbage collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from barnraise.clock import now_ms
from barnraise.config import load_run_config
from barnraise.errors import BlobMissingError, DamagedStoreError, VerificationError
from barnraise.message import BlobRef
from barnraise.releases.catalog import Catalog
from barnraise.releases.derived.family import Family
from barnraise.releases.derived.imports import Imported, ImportRequest, import_model
from barnraise.releases.derived.manifest import ModelRef, Relation
from barnraise.releases.derived.names import find_model
from barnraise.releases.plan import make_plan
from barnraise.releases.source import FolderSource
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder, locked_file
from coordinator.ledger import Ledger
from coordinator.listing import index_of
from coordinator.orders import Derive, place

__all__ = ["ImportWish", "import_into", "import_lock"]


@dataclass(frozen=True, slots=True)
class ImportWish:
    """What somebody wants to import.

    Attributes:
        parent: ``NAME@VERSION``, of the trunk or of a derived model; a range or channel will do.
        relation: None takes what it looks like. licence: None takes the run's.
    """

    path: Path
    name: str
    parent: str
    relation: Relation | None = None
    licence: str | None = None
    note: str = ""


def import_lock(folder: RunFolder) -> Path:
    """Held while a model is imported."""
    return folder.root / "import.lock"


def import_into(
    folder: RunFolder,
    wish: ImportWish,
    *,
    told: Callable[[int], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Imported:
    """Store a model and have it listed.

    Args:
        told: called with bytes as they are done. tell: gets a sentence when this waits for a coordinator.

    Raises:
        UsageError, NotACheckpointError, ReleaseError: what cannot be imported, and why.
        OrderRefusedError: it could not be listed; its blobs are garbage until the next try.
        FolderLockedError: another import is under way.
        DamagedStoreError: the parent cannot be read; what of the run is damaged, and how to mend it.
        NotARunFolderError, StorageError: no run there, or its disk.
    """
    config = load_run_config(folder.require().config)
    public = BlobStore(folder.public)
    with locked_file(import_lock(folder), f"another import already works in {folder.root}"):
        ledger = Ledger.open(folder.ledger)
        try:
            index = index_of(ledger, public)
        finally:
            ledger.close()
        request = ImportRequest(
            path=wish.path,
            name=wish.name,
            parent=find_model(index, wish.parent),
            relation=wish.relation,
            licence=config.licence if wish.licence is None else wish.licence,
            note=wish.note,
            at_ms=now_ms(),
        )
        catalog = Catalog(FolderSource(folder.root), index, public)
        try:
            done = import_model(request, catalog, public, depth_most=config.release.keyframe_every, told=told)
        except (VerificationError, BlobMissingError) as error:
            if what := _damaged(Catalog(FolderSource(folder.root), index, public), request.parent):
                raise DamagedStoreError(
                    f"{what} is damaged or missing in {folder.root}; nothing was listed. Mend it, and import again: "
                    f"barnraise fsck --run {folder.root} --repair --from MIRROR"
                ) from error
            raise
        if done.is_new:
            place(folder, _order(done), tell=tell)
    return done


def _damaged(catalog: Catalog, parent: ModelRef) -> str:
    """What of all that an import reads is not what its name says; "" if nothing is. Every byte of it is read.

    Args:
        catalog: of the run alone, which has compared nothing yet.
    """
    index = catalog.index
    named = {f"the manifest of {index.name} {entry.version}": entry.manifest for entry in index.releases}
    named |= {f"the manifest of {entry.name} {entry.version}": entry.manifest for entry in index.derived}
    if found := _first_damaged(catalog, named):
        return found
    needs = Family(catalog).needs(parent)
    for version in needs.releases:
        plan = make_plan(index, version)
        named |= {f"the keyframe of {index.name} {plan.start}": plan.keyframe} if plan.keyframe is not None else {}
        named |= {f"the patch of {index.name} {step.version}": step.blob for step in plan.patches}
    named |= {f"a tensor's blob ({blob.digest[:15]}..)": blob for blob in needs.blobs}
    return _first_damaged(catalog, named)


def _first_damaged(catalog: Catalog, named: Mapping[str, BlobRef]) -> str:
    return next((what for what, blob in named.items() if not catalog.has(blob)), "")


def _order(done: Imported) -> Derive:
    manifest, parent = done.manifest, done.manifest.lineage.parent
    return Derive(
        name=manifest.name,
        version=manifest.version,
        model_digest=manifest.model_digest,
        manifest_digest=done.blob.digest,
        manifest_bytes=done.blob.size_bytes,
        parent_name=parent.name,
        parent_version=parent.version,
        parent_digest=parent.model_digest,
        reason=manifest.reason,
    )
