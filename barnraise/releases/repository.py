"""The coordinator's side of release metadata: a run's folder of it, and the writing.

What has to be published is decided in publication.py. :class:`Repository` writes it. Files that
have a version or a hash in their name never change; ``timestamp.json`` is replaced last and
leads to all others, so a reader at any moment, or after a crash at any moment, finds one whole
state. A new root takes effect by itself, before any timestamp: then the whole folder is
exchanged instead, in one step.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuf.api.metadata import Root, Snapshot, Timestamp

from barnraise.errors import ConfigValueError
from barnraise.identity import Identity
from barnraise.releases.durable import exchange_folders, fsync_folder, make_folder, replace_file
from barnraise.releases.endings import MAINTAINERS_TOLD, ending_in_words
from barnraise.releases.index import ReleaseIndex, check_promises
from barnraise.releases.locks import lock_path
from barnraise.releases.offline import Offline
from barnraise.releases.publication import METADATA, TARGETS, Publication, plan_publication
from barnraise.releases.roles import (
    INDEX_TARGET,
    NIGHTLY,
    STABLE,
    STABLE_TARGET,
    as_time,
    half_over,
)
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import read_vouched
from barnraise.run_folder import RunFolder

__all__ = ["Repository", "online_keys"]

TIMESTAMP_FILE = f"{METADATA}/timestamp.json"
KEEP = 8
"""How many versions of the index stay published, for clients that are reading an older one."""


@dataclass(frozen=True, slots=True)
class Repository:
    """The metadata of one run's folder, for the one process that holds the folder.

    Attributes:
        folder: of the run, in which :meth:`found` was called once.
    """

    folder: RunFolder

    @classmethod
    def found(cls, folder: RunFolder, run: str, now_ms: int) -> Repository:
        """Of a run that may be new: keys and a first root are made where there are none.

        Raises:
            VerificationError: what maintainers signed is gone, and what is published of it is damaged.
        """
        if not folder.offline.exists():
            if (folder.public / METADATA / "1.root.json").exists():  # lost, or left out of a copy; it is published too
                offline = _from_published(read_vouched(FolderSource(folder.public)))
            else:
                root, online = Identity.load_or_create(folder.root_key), Identity.load_or_create(folder.online_key)
                offline = Offline.found(run, root, online, now_ms)
            offline.write(folder.offline)
        return cls(folder)

    @property
    def offline(self) -> Offline:
        """What maintainers have signed, as it is now."""
        return Offline.read(self.folder.offline)

    @property
    def root_digest(self) -> str:
        """What a consumer pins."""
        return self.offline.root_digest

    def publish(self, index: ReleaseIndex, now_ms: int) -> int:
        """Have exactly this index published, signed and fresh.

        Returns:
            When to call :meth:`renew` at the latest, in milliseconds since the epoch.

        Raises:
            VerificationError: the index breaks a promise of maintainers (:func:`check_promises`).
            DiskFullError: no space left; what was published before stays.
        """
        offline = self._current(now_ms)
        check_promises(index, offline.promoted)
        return self._publish(offline, index.canonical(), now_ms)

    @property
    def is_published(self) -> bool:
        """Whether the index can be found, from the timestamp on."""
        return INDEX_TARGET in self._published()

    def renew(self, now_ms: int) -> int:
        """Sign anew what is due, and take up what maintainers signed since; the index stays.

        Returns:
            As :meth:`publish`; ``now_ms`` where nothing is published, or not all of it any more.
        """
        index = self._published().get(INDEX_TARGET)
        return now_ms if index is None else self._publish(self._current(now_ms), index, now_ms)

    def ending(self, now_ms: int) -> str | None:
        """What maintainers have to sign again before long, in words; None where they need not yet."""
        words = ending_in_words(self.offline.expires, as_time(now_ms), MAINTAINERS_TOLD)
        return None if words is None else f"{words}; they sign it again with: barnraise keys renew"

    def _current(self, now_ms: int) -> Offline:
        """What maintainers signed; as long as the run's own root key stands in for them, it renews that too."""
        offline = self.offline
        ends = min(offline.root.expires, offline.signed_targets.signed.expires)
        if not half_over(Root.type, ends, now_ms) or not self.folder.root_key.is_file():
            return offline
        lock = lock_path(self.folder.offline.with_name("lock"))
        if lock is None:  # maintainers are being appointed, which renews both; whoever does it waits for this process
            return offline
        try:
            offline = self.offline  # as it is now that nobody else writes it
            root = Identity.load(self.folder.root_key) if self.folder.root_key.is_file() else None
            if root is not None and offline.keys.maintainers == (root.public,):
                offline = offline.renewed(root, now_ms)
                offline.write(self.folder.offline)
        finally:
            os.close(lock)
        return offline

    def _publish(self, offline: Offline, index: bytes, now_ms: int) -> int:
        for path in self.folder.public.glob(f".{METADATA}.new-*"):  # a crash left it
            shutil.rmtree(path, ignore_errors=True)
        planned = plan_publication(self._published(), offline, index, self._online(offline), now_ms)
        missing = {name: data for name, data in planned.files.items() if _read(self._path(name)) != data}
        if planned.timestamp != _read(self._path(TIMESTAMP_FILE)) or missing:
            if self._path(TIMESTAMP_FILE).exists() and any(name.endswith(".root.json") for name in missing):
                self._exchange(missing, planned.timestamp)
            else:
                self._write(self.folder.public, missing, planned.timestamp)
            self._prune(planned)
        return planned.renew_at_ms

    def _write(self, base: Path, files: Mapping[str, bytes], timestamp: bytes) -> None:
        for name, data in (*files.items(), (TIMESTAMP_FILE, timestamp)):
            make_folder((base / name).parent)
            replace_file(base / name, data)

    def _exchange(self, files: Mapping[str, bytes], timestamp: bytes) -> None:
        """Write into a copy of the metadata folder (of links), and exchange the two."""
        metadata = self._path(METADATA)
        staging = self.folder.public / f".{METADATA}.new-{secrets.token_hex(4)}"
        make_folder(staging / METADATA)
        try:
            for path in metadata.iterdir():
                if path.name != "timestamp.json":
                    (staging / METADATA / path.name).hardlink_to(path)
            lists = {name: data for name, data in files.items() if name.startswith(TARGETS)}
            for name, data in lists.items():
                make_folder(self._path(name).parent)
                replace_file(self._path(name), data)
            self._write(staging, {name: data for name, data in files.items() if name not in lists}, timestamp)
            exchange_folders(staging / METADATA, metadata)
            fsync_folder(self.folder.public)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _prune(self, planned: Publication) -> None:
        """Forget all but the newest versions of what changes with every release."""
        needed = {Path(name).name for name in planned.files}
        for role in (Snapshot.type, NIGHTLY):
            for path in _newest_first(self._path(METADATA), role)[KEEP:]:
                if path.name not in needed:
                    path.unlink(missing_ok=True)
        for path in _newest_first(self._path(METADATA), NIGHTLY):
            with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                named = json.loads(path.read_bytes())["signed"]["targets"][INDEX_TARGET]
                needed.add(f"{named['hashes']['sha256']}.{INDEX_TARGET}")
        for path in self._path(TARGETS).iterdir():
            if path.name not in needed and path.name.endswith(INDEX_TARGET):
                path.unlink(missing_ok=True)

    def _published(self) -> dict[str, bytes]:
        """Role -> its published metadata, and the index; what is missing or damaged is left out."""
        found: dict[str, bytes] = {}
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            found[Timestamp.type] = self._path(TIMESTAMP_FILE).read_bytes()
            snapshot = json.loads(found[Timestamp.type])["signed"]["meta"]["snapshot.json"]["version"]
            found[Snapshot.type] = self._path(f"{METADATA}/{int(snapshot)}.snapshot.json").read_bytes()
            nightly = json.loads(found[Snapshot.type])["signed"]["meta"][f"{NIGHTLY}.json"]["version"]
            found[NIGHTLY] = self._path(f"{METADATA}/{int(nightly)}.{NIGHTLY}.json").read_bytes()
            named = json.loads(found[NIGHTLY])["signed"]["targets"][INDEX_TARGET]["hashes"]["sha256"]
            found[INDEX_TARGET] = self._path(f"{TARGETS}/{named}.{INDEX_TARGET}").read_bytes()
        return found

    def _online(self, offline: Offline) -> Identity:
        """The online key that the root names: while it is rotated, old and new lie side by side."""
        for _, identity in online_keys(self.folder):
            if identity.public == offline.keys.online:
                return identity
        raise ConfigValueError(
            f"{self.folder.keys} holds no online key {offline.keys.online[:16]}.., which the newest root names; "
            "restore it from a backup, or rotate it: barnraise keys rotate"
        )

    def _path(self, name: str) -> Path:
        return self.folder.public / name


def online_keys(folder: RunFolder) -> Iterator[tuple[Path, Identity]]:
    """Every online key in a run's folder, with its file; one that is deleted meanwhile is passed over."""
    for path in sorted(folder.keys.glob("online*.key")):
        try:
            identity = Identity.load(path)
        except FileNotFoundError:
            continue
        yield path, identity


def _from_published(files: Mapping[str, bytes]) -> Offline:
    roots = tuple(data for name, data in files.items() if name.endswith(".root.json"))
    stable = files.get(f"{METADATA}/{STABLE}.json")
    return Offline(roots, files[f"{METADATA}/targets.json"], stable, files.get(f"{TARGETS}/{STABLE_TARGET}"))


def _newest_first(folder: Path, role: str) -> list[Path]:
    return sorted(folder.glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".", 1)[0]), reverse=True)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
