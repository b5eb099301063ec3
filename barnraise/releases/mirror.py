"""A mirror: a folder that any static file server can serve, kept in step with a run.

    DIR/
      blobs/ab/cdef..   everything that the listed releases consist of
      targets/          the lists, named by their hash
      metadata/         who signed what, in versions; timestamp.json leads to all the rest
      .mirror/          what the mirror itself remembers: whom it trusts, what it needed last

Only verified bytes come in, and in this order: blobs, lists, metadata, and timestamp.json at the
very end. So whoever reads the folder, at whatever moment, finds one whole state of the run. A new
root takes effect before any timestamp is read; then the folder ``metadata`` is exchanged in one step.

Nothing is removed, unless pruning is asked for. Then what neither the present state nor the one
before it needs is removed, for somebody may be in the middle of reading that one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from barnraise.errors import UsageError
from barnraise.message import BlobRef
from barnraise.releases.catalog import Catalog
from barnraise.releases.derived.names import read_derived_manifest
from barnraise.releases.durable import disk_full_translated, exchange_folders, fsync_folder, make_folder, replace_file
from barnraise.releases.fetch import FetchOptions, Progress, silent
from barnraise.releases.locks import vanishing_lock
from barnraise.releases.manifest import MergedUpdate
from barnraise.releases.partial import PARTIAL_FOLDER
from barnraise.releases.references import blob_refs
from barnraise.releases.source import ReleaseSource
from barnraise.releases.store import BlobStore, blob_path
from barnraise.releases.trust import Trusted, TrustOptions, read_index

__all__ = ["MirrorOptions", "Mirrored", "mirror"]

OWN = ".mirror"
TIMESTAMP = "metadata/timestamp.json"
_FOLDERS = ("blobs", "targets", "metadata")


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """What to copy, and how.

    Attributes:
        trust: whom to believe at the first time; afterwards the mirror remembers.
        updates: also the contributions that were merged, from which anybody can compute the releases again.
        check: compare the digests of the blobs that are there already, and fetch damaged ones again.
        prune: remove what is not needed any more.
    """

    trust: TrustOptions = field(default_factory=TrustOptions)
    updates: bool = False
    check: bool = False
    prune: bool = False
    fetch: FetchOptions = field(default_factory=FetchOptions)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What was done. ``version``: the newest release that the mirror has."""

    name: str
    version: str
    changed: bool
    releases: int
    blobs: int
    fetched_blobs: int
    fetched_bytes: int
    removed: int
    warnings: tuple[str, ...]


def mirror(
    source: ReleaseSource,
    folder: Path,
    options: MirrorOptions | None = None,
    progress: Progress = silent,
) -> Mirrored:
    """Bring ``folder`` in step with a source, once.

    Raises:
        UsageError: the folder holds other things.
        FolderLockedError: another mirroring of this folder is under way.
        VerificationError: bytes, digest or signature do not match.
        NetworkError, StorageError: the source or the disk. The mirror is whole as before, and the
            next time goes on from there.
    """
    options = options or MirrorOptions()
    own = _own_folder(folder)
    with vanishing_lock(own / "lock", f"{folder} is being brought in step already"):
        trusted = _read(source, own / "trust", options.trust)
        catalog = Catalog(source, trusted.index, BlobStore(folder), options=options.fetch)
        fetched, blobs = _fetch(catalog, options, progress)
        files, timestamp = _metadata(own / "trust" / trusted.index.name)
        needed = {TIMESTAMP, *files, *(blob_path(blob.digest) for blob in blobs)}
        before = _remembered(own)
        with disk_full_translated(folder):
            _remember(own, needed | before)  # until the new state is there for all to see
            changed = _publish(folder, files, timestamp)
            removed = _prune(folder, needed | before) if options.prune else 0
            _remember(own, needed)
            with suppress(OSError):  # something is in it: a transfer that was given up, to go on with
                (folder / PARTIAL_FOLDER).rmdir()
    return Mirrored(
        name=trusted.index.name,
        version=trusted.index.releases[-1].version if trusted.index.releases else "",
        changed=changed or bool(fetched) or bool(removed),
        releases=len(trusted.index.releases),
        blobs=len(blobs),
        fetched_blobs=len(fetched),
        fetched_bytes=catalog.fetched_bytes,
        removed=removed,
        warnings=(*trusted.warnings, *catalog.warnings),
    )


def _own_folder(folder: Path) -> Path:
    """The mirror's memory, made if the folder is new.

    Raises:
        UsageError: a folder with other things in it.
    """
    own = folder / OWN
    if folder.exists() and not own.is_dir() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} holds other things than a mirror; choose an empty or new folder")
    with disk_full_translated(folder):
        make_folder(own)
    return own


def _read(source: ReleaseSource, home: Path, trust: TrustOptions) -> Trusted:
    """The source's lists; the first time as the user trusts them, then from the root that was found right."""
    if trust.root is None and home.is_dir() and any(home.glob("*/first.root.json")):
        (first,) = home.glob("*/first.root.json")
        return read_index(source, TrustOptions(first.read_bytes(), home))
    found = read_index(source, trust)
    name, first_root = next(iter(found.provenance.items()))
    if name != "metadata/1.root.json":
        raise UsageError("a mirror begins with the run's first root; name that one's digest with --trust")
    return read_index(source, TrustOptions(first_root, home))


def _fetch(catalog: Catalog, options: MirrorOptions, progress: Progress) -> tuple[list[BlobRef], list[BlobRef]]:
    """Have every blob of the listed releases; returns those that were missing or damaged, and all."""

    def have(refs: list[BlobRef]) -> list[BlobRef]:
        missing = [ref for ref in refs if not catalog.has(ref, check=options.check)]
        catalog.fetch(missing, progress)
        return missing

    index = catalog.index
    missing = have([*(entry.manifest for entry in index.releases), *(model.manifest for model in index.derived)])
    found = {ref.digest: ref for _, ref in blob_refs(index)}
    for entry in index.releases:
        manifest = catalog.manifest(entry)
        found |= {ref.digest: ref for _, ref in blob_refs(manifest)}
        if options.updates:
            found |= {update.digest: _as_blob(update) for update in manifest.updates}
    for model in index.derived:
        found |= {ref.digest: ref for _, ref in blob_refs(read_derived_manifest(catalog, model))}
    return [*missing, *have(list(found.values()))], list(found.values())


def _as_blob(update: MergedUpdate) -> BlobRef:
    return BlobRef(digest=update.digest, size_bytes=update.size_bytes)


def _metadata(state: Path) -> tuple[dict[str, bytes], bytes]:
    """What python-tuf has just verified, as it is called when it is published; the timestamp apart."""
    metadata = state / "metadata"
    timestamp = (metadata / "timestamp.json").read_bytes()
    snapshot = (metadata / "snapshot.json").read_bytes()
    files = {f"metadata/{path.name}": path.read_bytes() for path in metadata.glob("root_history/*.root.json")}
    files[f"metadata/{_version(snapshot)}.snapshot.json"] = snapshot
    for name in json.loads(snapshot)["signed"]["meta"]:
        data = (metadata / name).read_bytes()
        files[f"metadata/{_version(data)}.{name}"] = data
    for path in (state / "targets").iterdir():
        data = path.read_bytes()
        files[f"targets/{hashlib.sha256(data).hexdigest()}.{path.name}"] = data
    return files, timestamp


def _version(data: bytes) -> int:
    return int(json.loads(data)["signed"]["version"])


def _publish(folder: Path, files: Mapping[str, bytes], timestamp: bytes) -> bool:
    """Put lists and metadata where readers look, the timestamp last; whether anything was new."""
    missing = {name: data for name, data in files.items() if _content(folder / name) != data}
    if not missing and _content(folder / TIMESTAMP) == timestamp:
        return False
    if (folder / TIMESTAMP).exists() and any(name.endswith(".root.json") for name in missing):
        _exchange(folder, missing, timestamp)
        return True
    for name, data in (*sorted(missing.items(), reverse=True), (TIMESTAMP, timestamp)):  # targets before metadata
        make_folder((folder / name).parent)
        replace_file(folder / name, data)
    return True


def _exchange(folder: Path, missing: Mapping[str, bytes], timestamp: bytes) -> None:
    staging = folder / OWN / f"metadata-{secrets.token_hex(4)}"
    make_folder(staging)
    try:
        for path in (folder / "metadata").iterdir():
            if path.name != "timestamp.json":
                (staging / path.name).hardlink_to(path)
        for name, data in missing.items():
            kind, _, file = name.partition("/")
            replace_file((staging if kind == "metadata" else folder / kind) / file, data)
        replace_file(staging / "timestamp.json", timestamp)
        exchange_folders(staging, folder / "metadata")
        fsync_folder(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _prune(folder: Path, needed: set[str]) -> int:
    removed = 0
    for kind in _FOLDERS:
        for path in sorted((folder / kind).rglob("*")):
            if path.is_file() and path.relative_to(folder).as_posix() not in needed:
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def _remembered(own: Path) -> set[str]:
    try:
        return set((own / "needed").read_text(encoding="ascii").split())
    except FileNotFoundError:
        return set()


def _remember(own: Path, needed: set[str]) -> None:
    replace_file(own / "needed", "\n".join(sorted(needed)).encode("ascii"))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
