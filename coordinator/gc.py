"""Garbage collection: remove what a run's stores hold and nothing names any more.

Rejected candidates, optimiser states of rounds that ended without a release, imports that were
interrupted, scores of models that nobody remembers. ``sweep`` decides, from what is there, what
is mentioned and the clock; what is younger than the grace period stays whatever it is, for
somebody may be about to name it. Removing is one blob at a time, so it may be stopped anywhere.

A coordinator may be running. It names what it stored within minutes, and what it stores again
is young again; so with a grace of hours nothing is taken from under it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from barnraise.errors import FolderLockedError, UsageError
from barnraise.releases.durable import TEMPORARY_SUFFIX
from barnraise.releases.store import BlobStore, StoredBlob
from barnraise.run_folder import RunFolder, locked_file
from coordinator.acceptance.measuring import of_model
from coordinator.conductor.desk import Desk
from coordinator.importing import import_lock
from coordinator.ledger import Ledger
from coordinator.references import mentioned, scored_models
from coordinator.run_setup import open_run

__all__ = ["GRACE_S", "RUNNING_GRACE_S", "Collected", "Swept", "collect", "sweep"]

GRACE_S = 24 * 3600.0
RUNNING_GRACE_S = 3600.0
"""The shortest grace period while a coordinator works: longer than any of its actions takes to name its blobs."""

MODELS_KEPT = 2
"""Of so many of the newest releases, and where the trunk is, the whole model stays in the cache; see ``Desk.tidy``."""

HALF_WRITTEN = f"incoming/*{TEMPORARY_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Swept:
    """What is to be removed of one place, and what stays because it is young."""

    remove: tuple[StoredBlob, ...]
    young: int
    kept: int

    @property
    def size_bytes(self) -> int:
        return sum(blob.size_bytes for blob in self.remove)


def sweep(found: Iterable[StoredBlob], needed: Collection[str], *, now_ns: int, grace_s: float) -> Swept:
    """Decide what goes: what nobody needs and nobody stored within the grace period.

    Args:
        found: what there is. needed: digests, or other names, that stay.
    """
    unneeded, kept = [], 0
    for blob in found:
        if blob.digest in needed:
            kept += 1
        else:
            unneeded.append(blob)
    old = tuple(blob for blob in unneeded if blob.stored_at_ns + int(grace_s * 1e9) <= now_ns)
    return Swept(old, len(unneeded) - len(old), kept)


@dataclass(frozen=True, slots=True)
class Collected:
    """What one place held.

    Attributes:
        place: in words. removed: how many blobs or files went, or would have gone.
        freed_bytes: of those that no other name keeps on the disk.
    """

    place: str
    removed: int
    freed_bytes: int
    young: int
    kept: int


def collect(folder: RunFolder, *, now_ns: int, grace_s: float = GRACE_S, dry_run: bool = False) -> list[Collected]:
    """Remove what nothing names.

    Args:
        grace_s: what was stored within so many seconds stays. dry_run: only say.

    Raises:
        UsageError: a grace period too short while a coordinator runs.
        FolderLockedError: a model is being imported.
        NotARunFolderError, StorageError: no run there, or its ledger cannot be read.
    """
    with ExitStack() as stack:
        stack.enter_context(locked_file(import_lock(folder.require()), f"a model is being imported into {folder.root}"))
        try:
            stack.enter_context(folder.lock("coordinator"))
        except FolderLockedError as error:
            if grace_s < RUNNING_GRACE_S:
                raise UsageError(
                    f"a coordinator works in {folder.root}, so what is younger than {RUNNING_GRACE_S / 3600:g} hours "
                    f"stays; asked for {grace_s / 3600:g}. Stop it first, or give a longer --older-than"
                ) from error
        run = open_run(folder)
        try:
            return _collect(Desk(folder.root, run.config, run.held_out_digest), run.ledger, (now_ns, grace_s), dry_run)
        finally:
            run.ledger.close()


def _collect(desk: Desk, ledger: Ledger, age: tuple[int, float], dry_run: bool) -> list[Collected]:
    now_ns, grace_s = age
    stores = {"public blobs": desk.public, "private blobs": desk.private}
    found = {place: list(store.stored()) for place, store in stores.items()}  # before the ledger is read: see above
    needed = mentioned(ledger, desk.public, _published_lists(desk.folder.public))
    collected = []
    for place, store in stores.items():
        swept = sweep(found[place], needed, now_ns=now_ns, grace_s=grace_s)
        collected.append(_remove_blobs(place, store, swept, dry_run))
    for place, files, names in _files(desk, ledger):
        swept = sweep(_as_found(files), names, now_ns=now_ns, grace_s=grace_s)
        collected.append(_remove_files(place, files, swept, dry_run))
    return collected


def _files(desk: Desk, ledger: Ledger) -> list[tuple[str, Sequence[Path], Collection[str]]]:
    """What lies in files named otherwise: in words, all of them, and the names of those that are needed."""
    releases, current = ledger.releases(), ledger.current_round()
    head = ledger.head()
    newest = [*releases[-MODELS_KEPT:], *([head] if head is not None else [])]
    scored, kept = scored_models(releases, current), scored_models(newest, current)
    folder, known = desk.kept.folder, {of_model(digest) for digest in scored}
    measured = {f"{name}.json" for name in desk.kept.names() if name.partition("-")[0] in known}
    half_written = [path for store in (desk.public, desk.private) for path in store.root.glob(HALF_WRITTEN)]
    return [
        ("whole models", sorted(desk.models.folder.glob("*.f32")), {desk.models.path(digest).name for digest in kept}),
        ("scores", sorted(folder.glob("*.json")), measured),
        ("half-written files", sorted(half_written), ()),
    ]


def _published_lists(public: Path) -> list[bytes]:
    """The signed lists as they are served, older ones too: what they name stays while they do."""
    found = []
    for path in [*public.glob("*.json"), *public.glob("targets/*.json")]:
        with suppress(FileNotFoundError):  # an old version that was just forgotten
            found.append(path.read_bytes())
    return found


def _remove_blobs(place: str, store: BlobStore, swept: Swept, dry_run: bool) -> Collected:
    removed = freed = 0
    for blob in swept.remove:
        try:
            alone = store.path(blob.digest).stat().st_nlink == 1
        except FileNotFoundError:
            alone = False
        if dry_run or store.remove(blob):
            removed += 1
            freed += blob.size_bytes if alone else 0
    return Collected(place, removed, freed, swept.young, swept.kept)


def _as_found(files: Sequence[Path]) -> list[StoredBlob]:
    found = []
    for path in files:
        with suppress(FileNotFoundError):  # finished or tidied away meanwhile
            stat = path.stat()
            found.append(StoredBlob(path.name, stat.st_size, stat.st_mtime_ns))
    return found


def _remove_files(place: str, files: Sequence[Path], swept: Swept, dry_run: bool) -> Collected:
    paths = {path.name: path for path in files}
    for file in swept.remove:
        if not dry_run:
            paths[file.digest].unlink(missing_ok=True)
    return Collected(place, len(swept.remove), swept.size_bytes, swept.young, swept.kept)
