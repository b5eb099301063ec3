"""python-tuf's client on a source of ours: the whole of The Update Framework's client workflow is theirs.

What is here: where the first root comes from, how bytes are fetched (bounded), where state is
kept, and one place where tuf's errors become ours.

Source: https://theupdateframework.github.io/specification/v1.0.33/#detailed-client-workflow
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from barnraise.digest import digest_bytes
from barnraise.errors import (
    BadNameError,
    BarnraiseError,
    BlobMissingError,
    ExpiredMetadataError,
    NoSuchVersionError,
    NotEnoughSignaturesError,
    OlderMetadataError,
    StorageError,
    VerificationError,
)
from barnraise.message import check_run_name
from barnraise.releases.durable import disk_full_translated, exchange_folders, fsync_folder, make_folder, replace_file
from barnraise.releases.locks import waiting_lock
from barnraise.releases.roles import INDEX_TARGET, STABLE, STABLE_TARGET, run_name
from barnraise.releases.source import ReleaseSource
from barnraise.releases.trust import LIMITS, TrustOptions

__all__ = ["refresh"]

FIRST_ROOT = "first.root.json"
BASE = "source:/"
MAX_ROOTS = 256
_PATH = re.compile(r"(metadata|targets)/[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\Z")


def refresh(source: ReleaseSource, trust: TrustOptions) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Bring what is known of a run up to date from a source.

    Returns:
        The files of :class:`~barnraise.releases.trust.Trusted`'s provenance, and warnings.

    Raises:
        VerificationError and its kinds, NoSuchVersionError, NetworkError, StorageError: see
            :func:`~barnraise.releases.trust.read_index`. What was known before stays.
    """
    first, run = _first_root(source, trust)
    with _storage_translated(trust.folder):
        make_folder(trust.folder)
        with waiting_lock(trust.folder / f".{run}.lock"):
            pinned = trust.pinned(run)
            if pinned is not None and (pinned == first or _follows(trust.folder / run, first)):
                return _update(source, trust.folder / run, pinned), ()
            files = _begin(source, trust.folder / run, first)
    if pinned is None:
        return files, ()
    return files, (f"{run} was pinned to root {digest_bytes(pinned)[:15]}.., from now on it is the one you named",)


def _first_root(source: ReleaseSource, trust: TrustOptions) -> tuple[bytes, str]:
    """The root that trust begins with, and the run that it is of.

    Raises:
        VerificationError: the source has another one than it should have.
    """
    if isinstance(trust.root, bytes):
        return trust.root, _run_of(trust.root, "the root that was named")
    try:
        offered = source.read("metadata/1.root.json", LIMITS["root"])
    except BlobMissingError as error:
        raise _nothing_there(source) from error
    run = _run_of(offered, f"the first root of {source.label}")
    pinned = trust.pinned(run)
    expected = trust.root or (digest_bytes(pinned) if pinned is not None else None)
    if expected is None or digest_bytes(offered) == expected:
        return offered, run
    try:
        return _later_root(source, expected), run
    except VerificationError as error:
        if trust.root is not None:
            raise
        raise VerificationError(
            f"{source.label} begins with root {digest_bytes(offered)[:19]}.., but {expected[:19]}.. was pinned when "
            f"{run} was first seen. If its operator says that the run began anew: --trust {digest_bytes(offered)}"
        ) from error


def _later_root(source: ReleaseSource, digest: str) -> bytes:
    """The root with this digest that is not the first.

    Raises:
        VerificationError: the source has none.
    """
    with suppress(BlobMissingError):
        for number in range(2, MAX_ROOTS):
            root = source.read(f"metadata/{number}.root.json", LIMITS["root"])
            if digest_bytes(root) == digest:
                return root
    raise VerificationError(
        f"{source.label} has no root {digest[:19]}..; nothing of it was used. Ask the operator for the digest of the "
        "run's root, or use another mirror"
    )


def _follows(folder: Path, root: bytes) -> bool:
    """Whether this root is one of those that the pinned one led to before."""
    return any(path.read_bytes() == root for path in folder.glob("metadata/root_history/*.root.json"))


def _run_of(root: bytes, what: str) -> str:
    try:
        found = Metadata[Root].from_bytes(root)
        if not isinstance(found.signed, Root):
            raise VerificationError(f"{what} is no root metadata; use another mirror")
        return check_run_name(run_name(found.signed))
    except (exceptions.RepositoryError, BadNameError) as error:
        raise VerificationError(f"{what} is not acceptable: {error}. Use another mirror") from error


def _begin(source: ReleaseSource, folder: Path, first: bytes) -> dict[str, bytes]:
    """The first refresh from a root: only when all of it holds is the root pinned."""
    staging = folder.parent / f".{folder.name}.new-{secrets.token_hex(4)}"
    staging.mkdir()
    try:
        replace_file(staging / FIRST_ROOT, first)
        files = _update(source, staging, first)
        exchange_folders(staging, folder)
        fsync_folder(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return files


def _update(source: ReleaseSource, folder: Path, first: bytes) -> dict[str, bytes]:
    """One refresh, or a second one when the run's keys or lists changed while the first was under way."""
    try:
        return _refreshed(source, folder, first)
    except (NotEnoughSignaturesError, BlobMissingError):
        pass
    try:
        return _refreshed(source, folder, first)
    except BlobMissingError as error:
        raise VerificationError(f"{source.label} is not whole: {error}. Use another mirror") from error


def _refreshed(source: ReleaseSource, folder: Path, first: bytes) -> dict[str, bytes]:
    metadata, targets = folder / "metadata", folder / "targets"
    for path in (metadata, targets):
        path.mkdir(exist_ok=True)
    fetcher = _Fetcher(source)
    with _tuf_translated(source, fetcher):
        updater = Updater(
            str(metadata),
            f"{BASE}metadata/",
            str(targets),
            f"{BASE}targets/",
            fetcher,
            _config(),
            bootstrap=first,
        )
        updater.refresh()
        index = updater.get_targetinfo(INDEX_TARGET)
        if index is None:
            raise _nothing_there(source)
        lists = {f"targets/{INDEX_TARGET}": _download(updater, index)}
        with_stable = f"{STABLE}.json" in Metadata[Snapshot].from_file(str(metadata / "snapshot.json")).signed.meta
        if with_stable and (stable := updater.get_targetinfo(STABLE_TARGET)) is not None:
            lists[f"targets/{STABLE_TARGET}"] = _download(updater, stable)
    return {**_proof(metadata, first, with_stable=with_stable), **lists}


def _config() -> UpdaterConfig:
    return UpdaterConfig(
        max_root_rotations=MAX_ROOTS,
        max_delegations=4,
        root_max_length=LIMITS["root"],
        timestamp_max_length=LIMITS["timestamp"],
        snapshot_max_length=LIMITS["snapshot"],
        targets_max_length=LIMITS["targets"],
    )


def _download(updater: Updater, target: TargetFile) -> bytes:
    """A list, from what is known already or from the source; verified either way."""
    if target.length > LIMITS["list"]:
        raise VerificationError(f"{target.path} has {target.length:,} bytes; that is not one of ours")
    path = updater.find_cached_target(target) or updater.download_target(target)
    return Path(path).read_bytes()


def _proof(metadata: Path, first: bytes, *, with_stable: bool) -> dict[str, bytes]:
    """The files behind what the client has just verified."""
    number = Metadata[Root].from_bytes(first).signed.version
    newest = Metadata[Root].from_bytes((metadata / "root.json").read_bytes()).signed.version
    files = {
        f"metadata/{version}.root.json": (metadata / "root_history" / f"{version}.root.json").read_bytes()
        for version in range(number, newest + 1)
    }
    roles = ["nightly", "targets", *([STABLE] if with_stable else [])]
    return {**files, **{f"metadata/{role}.json": (metadata / f"{role}.json").read_bytes() for role in sorted(roles)}}


class _Fetcher(FetcherInterface):
    """Fetches for python-tuf, and knows what was ``asked`` for and came ``last``, for the words of an error."""

    def __init__(self, source: ReleaseSource) -> None:
        self._source = source
        self.asked = ""
        self.last: tuple[str, bytes] = ("", b"")

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self.asked = url.removeprefix(BASE)
        if not _PATH.match(path):
            raise VerificationError(f"{self._source.label} names a file {path[:80]!a}; that is not one of ours")
        role = path.removesuffix(".json").rpartition(".")[2].rpartition("/")[2]
        kind = "list" if path.startswith("targets/") else role
        try:
            data = self._source.read(path, LIMITS.get(kind, LIMITS["targets"]))
        except BlobMissingError as error:
            raise exceptions.DownloadHTTPError(str(error), 404) from error
        self.last = (path, data)
        yield data


@contextmanager
def _tuf_translated(source: ReleaseSource, fetcher: _Fetcher) -> Iterator[None]:
    """The one place where errors of tuf become ours.

    Raises:
        See :func:`~barnraise.releases.trust.read_index`; BlobMissingError: a file is not there (any more).
    """
    try:
        yield
    except exceptions.DownloadHTTPError as error:
        if fetcher.asked.endswith("/timestamp.json"):
            raise _nothing_there(source) from error
        raise BlobMissingError(str(error)) from error
    except exceptions.DownloadError as error:
        if isinstance(error.__cause__, BarnraiseError):
            raise error.__cause__ from error
        raise VerificationError(
            f"{source.label} sent more than it said ({error}); nothing of it was used. Use another mirror"
        ) from error
    except exceptions.RepositoryError as error:
        raise _explained(source, fetcher, error) from error


def _explained(source: ReleaseSource, fetcher: _Fetcher, error: exceptions.RepositoryError) -> VerificationError:
    name, data = fetcher.last
    if isinstance(error, exceptions.ExpiredMetadataError):
        until = now = ""
        with suppress(exceptions.RepositoryError):
            until = f" on {Metadata[Any].from_bytes(data).signed.expires:%Y-%m-%d %H:%M} UTC"
            now = f" (now it is {datetime.now(UTC):%Y-%m-%d %H:%M})"
        return ExpiredMetadataError(
            f"what {source.label} says of its releases ended to hold{until}{now}: {error}. Nobody renewed it, or the "
            "mirror holds the newer back; ask the coordinator itself, or use another mirror"
        )
    if isinstance(error, exceptions.BadVersionNumberError):
        return OlderMetadataError(
            f"{source.label} is behind what was seen before, at {name}: {error}. Nothing of it was used; wait until "
            "this mirror is in step, or use another one"
        )
    if isinstance(error, exceptions.UnsignedMetadataError):
        return NotEnoughSignaturesError(
            f"{name} of {source.label} is not signed by enough of the run's keys: {error}. Nothing of it was used; "
            "use another mirror, and tell the operator if this is the coordinator"
        )
    return VerificationError(
        f"{name} of {source.label} is not what it should be: {error}. Nothing of it was used; use another mirror"
    )


def _nothing_there(source: ReleaseSource) -> NoSuchVersionError:
    return NoSuchVersionError(f"{source.label} lists no releases; it is no coordinator, or its first is not out yet")


@contextmanager
def _storage_translated(folder: Path) -> Iterator[None]:
    """A disk on which nothing can be remembered is an error of ours.

    Raises:
        DiskFullError, StorageError: no space left, or not writable.
    """
    try:
        with disk_full_translated(folder):
            yield
    except OSError as error:
        raise StorageError(
            f"what is known of runs cannot be kept in {folder}: {error.strerror}. Make it writable, or name another "
            "place with XDG_DATA_HOME"
        ) from error
