"""Pull a release: choose the version, plan, fetch, verify every byte, install in one step.

Whatever goes wrong, the folder holds the release that it held before. What was fetched until
then is kept beside it, and the next try goes on from there.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from barnraise.digest import digest_bytes
from barnraise.errors import NoSuchVersionError, VerificationError
from barnraise.releases.catalog import Catalog
from barnraise.releases.durable import make_folder
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.installed import Installed, check_target, install, sweep_staging
from barnraise.releases.keyframe import keyframe_size
from barnraise.releases.plan import Plan, make_plan
from barnraise.releases.rebuild import rebuild
from barnraise.releases.source import ReleaseSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import Trusted, TrustOptions, read_index
from barnraise.run_folder import locked_file
from barnraise.versions import select, split_spec

__all__ = ["PullResult", "Pulling", "prepare", "pull"]


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull did.

    Attributes:
        changed: False when the release was there already.
        fetched_bytes: read from the source, the index apart.
        model_bytes: the whole model file. patch_bytes: all patches that were applied.
    """

    name: str
    version: str
    model_digest: str
    folder: Path
    changed: bool
    plan: Plan
    fetched_bytes: int
    model_bytes: int
    patch_bytes: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pulling:
    """A pull that is decided and not yet done."""

    index: ReleaseIndex
    entry: IndexEntry
    plan: Plan
    installed: Installed | None
    warnings: tuple[str, ...]

    @property
    def is_there(self) -> bool:
        """Whether the folder holds exactly this release already."""
        return self.installed is not None and digest_bytes(self.installed.release) == self.entry.manifest.digest


def pull(
    source: ReleaseSource,
    spec: str,
    into: Path,
    *,
    cache: Path | None = None,
    trust: TrustOptions | None = None,
) -> PullResult:
    """Bring ``into`` to the newest release that ``spec`` allows.

    Args:
        spec: ``NAME@RANGE``, ``NAME@1.4.0``, ``NAME@stable`` or ``NAME``.
        into: a new or empty folder, or one with a release that was pulled before.
        cache: folder that keeps fetched blobs; by default they are kept until the pull is done.
        trust: from which root; by default the one that was pinned when the run was first seen.

    Raises:
        UsageError: ``into`` holds other things.
        BadVersionError, NoSuchVersionError, BrokenChainError: no such release.
        VerificationError: bytes, digest or signature do not match.
        NetworkError, StorageError: the source or the disk.
    """
    into = into.absolute()
    check_target(into)
    work = cache or into.parent / f".{into.name}.pull"
    make_folder(work)
    with locked_file(work / "lock", f"another pull already works in {work}"):
        sweep_staging(into)
        store = BlobStore(work)
        trusted = read_index(source, trust)
        pulling = prepare(trusted, spec, into, store)
        result = _carry_out(pulling, Catalog(source, trusted.index, store), into)
    if cache is None:
        shutil.rmtree(work, ignore_errors=True)
    return result


def prepare(trusted: Trusted, spec: str, into: Path, store: BlobStore) -> Pulling:
    """Decide what a pull would do; nothing is written.

    Args:
        store: where blobs may be at hand.

    Raises:
        BadVersionError, NoSuchVersionError, BrokenChainError: no such release.
    """
    index, warnings = trusted.index, list(trusted.warnings)
    name, wanted = split_spec(spec)
    if name != index.name:
        raise NoSuchVersionError(f"this is a run of {index.name}, not of {name[:64]!a}; try {index.name}@{wanted[:64]}")
    selection = select(index.yanked, wanted, index.channels)
    if selection.warning:
        warnings = [*warnings, selection.warning]
    entry = index.entry(selection.version)
    installed = None
    if into.is_dir() and any(into.iterdir()):
        try:
            installed = Installed.read(into)
        except VerificationError as error:
            warnings = [*warnings, f"what is in {into} cannot be built upon and will be replaced: {error}"]
    blobs = [blob for e in index.releases for blob in (e.keyframe, e.patch) if blob is not None]
    plan = make_plan(
        index,
        entry.version,
        installed=installed.manifest.model_digest if installed else None,
        at_hand={blob.digest for blob in blobs if store.has(blob.digest)},
    )
    return Pulling(index, entry, plan, installed, tuple(warnings))


def _carry_out(pulling: Pulling, catalog: Catalog, into: Path) -> PullResult:
    entry, plan, installed = pulling.entry, pulling.plan, pulling.installed
    manifest = catalog.manifest(entry) if not pulling.is_there else None
    if manifest is not None:
        flat_P = rebuild(catalog, plan, manifest, installed.flat_P if installed else None)
        install(into, manifest, bytes(catalog.store.map(entry.manifest.digest)), flat_P)
    elif installed is not None:
        manifest = installed.manifest
    assert manifest is not None
    return PullResult(
        name=pulling.index.name,
        version=entry.version,
        model_digest=entry.model_digest,
        folder=into,
        changed=not pulling.is_there,
        plan=plan,
        fetched_bytes=catalog.fetched_bytes,
        model_bytes=keyframe_size(manifest.space),
        patch_bytes=plan.patch_bytes,
        warnings=pulling.warnings,
    )
