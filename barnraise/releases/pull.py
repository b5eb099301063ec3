"""Pull a release: choose the version, plan, fetch, verify every byte, install in one step.

    decide   which release is meant, what is at hand, and the cheapest way to it: Pulling
    fetch    what is not at hand, into the cache that all pulls share
    build    keyframe or installed model, patch after patch, while later ones arrive; every tensor is compared
    install  a new folder in place of the old one, in one step of the file system

Whatever goes wrong, the folder holds the release that it held before. What was fetched until
then stays in the cache, and the next try goes on from there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from barnraise.digest import digest_bytes
from barnraise.errors import DiskFullError, NoSuchVersionError, StorageError, VerificationError
from barnraise.native import threads
from barnraise.releases.cache import Cache
from barnraise.releases.catalog import Catalog, read_first_index
from barnraise.releases.derived.family import Family
from barnraise.releases.derived.manifest import AnyManifest, DerivedManifest
from barnraise.releases.derived.names import derived_names, select_derived
from barnraise.releases.derived.plan import DerivedPlan, plan_derived
from barnraise.releases.durable import make_folder
from barnraise.releases.fetch import FetchOptions, Progress, silent
from barnraise.releases.index import DerivedEntry, IndexEntry, ReleaseIndex
from barnraise.releases.installed import (
    AS_RELEASED,
    Content,
    Form,
    Installed,
    check_target,
    install,
    of_flat,
    sweep_staging,
)
from barnraise.releases.layout import side_files
from barnraise.releases.locks import vanishing_lock
from barnraise.releases.model_files import Pieces
from barnraise.releases.plan import Plan, make_plan
from barnraise.releases.rebuild import rebuild
from barnraise.releases.source import ReleaseSource
from barnraise.releases.trust import Trusted, TrustOptions
from barnraise.versions import select, split_spec

__all__ = ["PullOptions", "PullResult", "Pulling", "prepare", "pull", "would_pull"]


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull did.

    Attributes:
        changed: False when the release was there already.
        fetched_bytes: read from the sources, lists and metadata apart.
        model_bytes: the whole model file. patch_bytes: all patches that were applied.
    """

    name: str
    version: str
    model_digest: str
    folder: Path
    changed: bool
    plan: Plan | DerivedPlan = field(repr=False)
    fetched_bytes: int
    model_bytes: int
    patch_bytes: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pulling:
    """A pull that is decided and not yet done.

    Attributes:
        installed: what the folder holds, if that can be built upon.
        is_there: whether that is exactly this release, in the form that is wanted.
        family: where a derived model's tensors are read; None for a release of the trunk.
    """

    trusted: Trusted
    entry: IndexEntry | DerivedEntry
    manifest: AnyManifest
    plan: Plan | DerivedPlan
    installed: Installed | None
    is_there: bool
    warnings: tuple[str, ...]
    family: Family | None = None

    @property
    def index(self) -> ReleaseIndex:
        return self.trusted.index

    @property
    def model_bytes(self) -> int:
        """Of the files of tensors, as they are released."""
        return sum(file.size_bytes for file in AS_RELEASED.files(self.manifest.space))


def _unwatched(pulling: Pulling) -> AbstractContextManager[Progress]:
    return nullcontext(silent)


@dataclass(frozen=True, slots=True)
class PullOptions:
    """How to pull.

    Attributes:
        trust: from which root; by default the one that was pinned when the run was first seen.
        mirrors: sources beside the first one; a bad one costs a retry, never a wrong byte.
        cache: of the user by default.
        form: how the folder is laid out.
        durable: see :func:`~barnraise.releases.installed.install`.
        watch: gets the plan before anything of it is fetched, and is told how far fetching is.
    """

    trust: TrustOptions | None = None
    mirrors: tuple[ReleaseSource, ...] = ()
    cache: Cache | None = None
    form: Form = AS_RELEASED
    durable: bool = True
    fetch: FetchOptions = field(default_factory=FetchOptions)
    watch: Callable[[Pulling], AbstractContextManager[Progress]] = _unwatched


def pull(source: ReleaseSource, spec: str, into: Path, options: PullOptions | None = None) -> PullResult:
    """Bring ``into`` to the newest release that ``spec`` allows.

    Args:
        spec: ``NAME@RANGE``, ``NAME@1.4.0``, ``NAME@stable`` or ``NAME``.
        into: a new or empty folder, or one with a release that was pulled before.

    Raises:
        UsageError: ``into`` holds other things.
        BadVersionError, NoSuchVersionError, BrokenChainError: no such release.
        VerificationError: bytes, digest or signature do not match.
        NetworkError, StorageError: the sources or the disk.
    """
    into, options = into.absolute(), options or PullOptions()
    with _decided(source, spec, into, options) as (pulling, catalog, cache):
        if not pulling.is_there:
            _require_space(pulling, into, cache, options.form)
            with options.watch(pulling) as progress:
                if (manifest := pulling.entry.manifest) in pulling.plan.fetch:
                    progress(manifest, manifest.size_bytes)  # to plan, it had to be fetched before all else
                _build(pulling, catalog, into, options, progress)
        return _result(pulling, catalog, into)


def would_pull(source: ReleaseSource, spec: str, into: Path, options: PullOptions | None = None) -> Pulling:
    """What :func:`pull` would do; the folder stays as it is, and nothing but the manifest is fetched.

    Raises:
        See :func:`pull`.
    """
    with _decided(source, spec, into.absolute(), options or PullOptions()) as (pulling, _, _):
        return pulling


@contextmanager
def _decided(
    source: ReleaseSource, spec: str, into: Path, options: PullOptions
) -> Iterator[tuple[Pulling, Catalog, Cache]]:
    """All that comes before fetching. Until the block is left the cache keeps what the plan needs, and nobody
    else pulls into the same folder.
    """
    check_target(into)
    cache = options.cache or Cache.of_user()
    trusted, sources, warnings = read_first_index([source, *options.mirrors], options.trust)
    trusted = replace(trusted, warnings=(*trusted.warnings, *warnings))
    with cache.used() as use, _locked(into, cache):
        catalog = Catalog(sources[0], trusted.index, cache.store, mirrors=sources[1:], options=options.fetch)
        pulling = prepare(trusted, spec, into, catalog, options.form)
        use.need({blob.digest for blob in pulling.plan.blobs}, room_bytes=pulling.plan.fetch_bytes)
        cache.know(trusted.index.name, _names(pulling))
        yield pulling, catalog, cache


def prepare(trusted: Trusted, spec: str, into: Path, catalog: Catalog, form: Form = AS_RELEASED) -> Pulling:
    """Decide what a pull would do; nothing but the manifest is fetched.

    Args:
        catalog: of the sources, on the store where blobs may be at hand.

    Raises:
        BadVersionError, NoSuchVersionError, BrokenChainError: no such release.
        VerificationError, NetworkError, StorageError: the manifest cannot be had.
    """
    index, warnings = trusted.index, list(trusted.warnings)
    name, wanted = split_spec(spec)
    if name in derived_names(index):
        return _prepare_derived(trusted, select_derived(index, name, wanted), into, catalog, form)
    if name != index.name:
        known = f"; it has {', '.join(derived_names(index))} too" if index.derived else ""
        raise NoSuchVersionError(
            f"this is a run of {index.name}, not of {name[:64]!a}; try {index.name}@{wanted[:64]}{known}"
        )
    selection = select(index.yanked, wanted, index.channels, trusted.promoted)
    if selection.warning:
        warnings.append(selection.warning)
    entry = index.entry(selection.version)
    installed = _installed(into, warnings)
    if installed is not None and digest_bytes(installed.release) == entry.manifest.digest and installed.has_form(form):
        there = Plan(entry.version, None)
        return Pulling(trusted, entry, installed.manifest, there, installed, True, tuple(warnings))
    plan = _plan(catalog, entry, installed)
    at_hand = {entry.manifest.digest} if catalog.has(entry.manifest) else set()
    manifest = catalog.manifest(entry)
    side = tuple(side_files(manifest).values())
    at_hand |= {blob.digest for blob in side if catalog.has(blob)}
    plan = replace(plan, documents=(entry.manifest, *side), at_hand=plan.at_hand | at_hand)
    return Pulling(trusted, entry, manifest, plan, installed, False, tuple(warnings))


def _prepare_derived(trusted: Trusted, entry: DerivedEntry, into: Path, catalog: Catalog, form: Form) -> Pulling:
    """As :func:`prepare`, of a derived model; manifests of what it is built upon are fetched too."""
    warnings = list(trusted.warnings)
    installed = _installed(into, warnings)
    if installed is not None and digest_bytes(installed.release) == entry.manifest.digest and installed.has_form(form):
        there = DerivedPlan(entry.name, entry.version)
        return Pulling(trusted, entry, installed.manifest, there, installed, True, tuple(warnings))
    at_hand = {entry.manifest.digest} if catalog.has(entry.manifest) else set()
    family = Family(catalog)
    plan = plan_derived(family, entry, at_hand)
    manifest = family.derived(family.ref(entry.name, entry.version))
    return Pulling(trusted, entry, manifest, plan, installed, False, tuple(warnings), family)


def _installed(into: Path, warnings: list[str]) -> Installed | None:
    """What is in the folder; what cannot be used becomes a warning."""
    if not into.is_dir() or not any(into.iterdir()):
        return None
    try:
        return Installed.read(into)
    except VerificationError as error:
        warnings.append(f"what is in {into} cannot be built upon and will be replaced: {error}")
        return None


def _plan(catalog: Catalog, entry: IndexEntry, installed: Installed | None) -> Plan:
    """The cheapest plan with what the cache has; a blob that turns out to be damaged is not had."""
    index = catalog.index
    base = installed.manifest.model_digest if installed is not None and not installed.is_converted else None
    blobs = [blob for e in index.releases for blob in (e.keyframe, e.patch) if blob is not None]
    at_hand = {blob.digest for blob in blobs if catalog.has(blob, check=False)}
    while True:
        plan = make_plan(index, entry.version, installed=base, at_hand=at_hand)
        damaged = {blob.digest for blob in plan.blobs if blob.digest in at_hand and not catalog.has(blob)}
        if not damaged:
            return plan
        at_hand -= damaged


def _names(pulling: Pulling) -> dict[str, str]:
    """Digest -> what that blob is, for whoever looks into the cache."""
    prefix = f"{pulling.manifest.name} " if isinstance(pulling.manifest, DerivedManifest) else ""
    names = {
        blob.digest: f"{prefix}{pulling.entry.version} {what}" for what, blob in side_files(pulling.manifest).items()
    }
    if isinstance(pulling.plan, DerivedPlan):
        names |= {blob.digest: f"{prefix}{pulling.entry.version} tensor" for blob in pulling.plan.tensors}
    for entry in pulling.index.releases:
        for what in ("manifest", "keyframe", "patch"):
            if (blob := getattr(entry, what)) is not None:
                names[blob.digest] = f"{entry.version} {what}"
    return names


def _require_space(pulling: Pulling, into: Path, cache: Cache, form: Form) -> None:
    """Refuse before anything is fetched what would fail afterwards.

    Raises:
        StorageError: the folder cannot be written. DiskFullError: it, or the cache, has too little space.
    """
    target = _nearest(into.parent)
    model_bytes = sum(file.size_bytes for file in form.files(pulling.manifest.space))
    if not os.access(target, os.W_OK | os.X_OK):
        raise StorageError(f"{target} cannot be written, so {into} stays as it is; choose another place with --into")
    needed = [(target, model_bytes), (_nearest(cache.root), pulling.plan.fetch_bytes)]
    for place, _ in needed:
        size_bytes = sum(size for other, size in needed if other.stat().st_dev == place.stat().st_dev)
        if (free := shutil.disk_usage(place).free) < size_bytes:
            raise DiskFullError(
                f"{size_bytes:,} bytes are needed below {place}, which has {free:,}; nothing was changed. "
                "Free some space, or choose other places with --into and --cache"
            )


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return path if path.is_dir() else _nearest(path.parent)


@contextmanager
def _locked(into: Path, cache: Cache) -> Iterator[None]:
    """One pull into a folder at a time. The lock lies in the cache: nothing is written beside the folder in vain.

    Raises:
        FolderLockedError: another one is under way.
    """
    locks = cache.root / "targets"
    make_folder(locks)
    with vanishing_lock(locks / digest_bytes(os.fsencode(into))[3:], f"another pull into {into} is under way"):
        yield


def _build(pulling: Pulling, catalog: Catalog, into: Path, options: PullOptions, progress: Progress) -> None:
    """Build and install while blobs arrive; once more where what was at hand turns out to be damaged.

    Raises:
        See :func:`_install`, and :meth:`Catalog.fetch`.
    """
    while True:
        try:
            # What is built needs all blobs; who decodes one that does not come hears of it before the pool ends.
            with ThreadPoolExecutor(threads()) as pool, catalog.fetching(pulling.plan.blobs, progress):
                return _install(pulling, catalog, into, options, pool)
        except VerificationError:
            if not catalog.doubt():
                raise
            if pulling.family is not None:
                pulling.family.forget()


def _install(pulling: Pulling, catalog: Catalog, into: Path, options: PullOptions, pool: Executor) -> None:
    """Build the model from what was fetched, and put it into place.

    Raises:
        VerificationError: it is not what the manifest says.
        DiskFullError, StorageError: the folder cannot be written.
    """
    manifest = pulling.manifest
    content = Content(
        manifest=manifest,
        release=bytes(catalog.blob(pulling.entry.manifest)),
        tensor=_tensors(pulling, catalog),
        side={name: catalog.blob(blob) for name, blob in side_files(manifest).items()},
        provenance=pulling.trusted.provenance,
    )
    try:
        sweep_staging(into)
        install(into, content, options.form, pool, durable=options.durable)
    except OSError as error:
        raise StorageError(
            f"{into} cannot be written: {error.strerror or error}. It holds what it held; "
            "choose another place with --into"
        ) from error


def _tensors(pulling: Pulling, catalog: Catalog) -> Pieces:
    """The tensors of what is pulled, verified; what is built upon is there when this returns."""
    manifest, installed, family = pulling.manifest, pulling.installed, pulling.family
    if isinstance(manifest, DerivedManifest):
        assert family is not None
        family.build(manifest.ref)
        return lambda name: family.pieces(manifest.ref, name)
    assert isinstance(pulling.plan, Plan)
    base_P = installed.flat() if installed is not None and pulling.plan.keyframe is None else None
    return of_flat(manifest.space, rebuild(catalog, pulling.plan, manifest, base_P))


def _result(pulling: Pulling, catalog: Catalog, into: Path) -> PullResult:
    return PullResult(
        name=pulling.manifest.name,
        version=pulling.entry.version,
        model_digest=pulling.entry.model_digest,
        folder=into,
        changed=not pulling.is_there,
        plan=pulling.plan,
        fetched_bytes=catalog.fetched_bytes,
        model_bytes=pulling.model_bytes,
        patch_bytes=pulling.plan.patch_bytes,
        warnings=(*pulling.warnings, *catalog.warnings),
    )
