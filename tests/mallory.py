"""Mallory owns a mirror, and now and then a stolen key: for tests of what a client takes from her.

mallory = Mallory.mirrors(run)            what the run publishes now, and nothing that comes later
mallory.lies["metadata/timestamp.json"] = b"..."
mallory.forges(run, key, index)           signed with a key that she stole
pull(mallory.source, "tiny-lm", folder)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tuf.api.metadata import Metadata, MetaFile, Snapshot, Targets, Timestamp

from barnraise.clock import now_ms
from barnraise.identity import Identity
from barnraise.releases.http_source import HttpSource, Reply
from barnraise.releases.index import ReleaseIndex
from barnraise.releases.roles import INDEX_TARGET, NIGHTLY, as_time, delegated_list, serialise, sign
from published import PublishedRun

__all__ = ["PIECE", "Mallory"]

S = TypeVar("S", Targets, Snapshot, Timestamp)

URL = "http://mallory.test"
PIECE = 4096
YEAR_MS = 365 * 86_400_000


@dataclass
class Mallory:
    """Serves a copy of a run's public folder, except for what she lies about.

    Attributes:
        lies: path -> what she sends instead; a function gives bytes without end.
        sent: path -> bytes that were taken from her.
    """

    public: Path
    lies: dict[str, bytes | Callable[[], Iterator[bytes]]] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)

    @classmethod
    def mirrors(cls, run: PublishedRun, to: Path) -> Mallory:
        """A mirror of the run as it is now."""
        shutil.copytree(run.public, to)
        return cls(to)

    @property
    def source(self) -> HttpSource:
        return HttpSource(URL, self._open)

    @property
    def names(self) -> list[str]:
        """Everything there is to lie about."""
        return sorted(str(path.relative_to(self.public)) for path in self.public.rglob("*") if path.is_file())

    def reads(self, name: str) -> bytes:
        return (self.public / name).read_bytes()

    def newest(self, role: str) -> str:
        """Path of the newest metadata of a role."""
        if role == "timestamp":
            return "metadata/timestamp.json"
        naming = self.newest("timestamp" if role == "snapshot" else "snapshot")
        version = json.loads(self.reads(naming))["signed"]["meta"][f"{role}.json"]["version"]
        return f"metadata/{version}.{role}.json"

    def list_of(self, role: str) -> str:
        """Path of the list that the newest metadata of a role names."""
        name, target = next(iter(json.loads(self.reads(self.newest(role)))["signed"]["targets"].items()))
        return f"targets/{target['hashes']['sha256']}.{name}"

    def forges(
        self, key: Identity, index: ReleaseIndex, version: int, others: Mapping[str, bytes] | None = None
    ) -> None:
        """Publish an index that she signed, as a thief of the online key can.

        Args:
            version: of all three roles. others: metadata that her snapshot names beside it (``targets.json``, ..); by
                default what she mirrors.
        """
        content, at_ms = index.canonical(), now_ms()
        if others is None:
            snapshot = json.loads(self.reads(self.newest("snapshot")))["signed"]["meta"]
            others = {n: self.reads(f"metadata/{m['version']}.{n}") for n, m in snapshot.items() if "nightly" not in n}
        nightly = delegated_list(NIGHTLY, INDEX_TARGET, content, version, at_ms)
        parts = {f"{NIGHTLY}.json": _signed(nightly, key), **others}
        meta = {name: _described(data) for name, data in parts.items()}
        snapshot_bytes = _signed(Metadata(Snapshot(version, expires=as_time(at_ms + YEAR_MS), meta=meta)), key)
        timestamp = Timestamp(version, expires=as_time(at_ms + YEAR_MS), snapshot_meta=_described(snapshot_bytes))
        files = {f"metadata/{_version(data)}.{name}": data for name, data in parts.items()}
        files[f"metadata/{version}.snapshot.json"] = snapshot_bytes
        files[f"targets/{nightly.signed.targets[INDEX_TARGET].hashes['sha256']}.{INDEX_TARGET}"] = content
        files["metadata/timestamp.json"] = _signed(Metadata(timestamp), key)
        for name, data in files.items():
            (self.public / name).write_bytes(data)

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
        name = url.removeprefix(URL).lstrip("/")
        lie = self.lies.get(name)
        if callable(lie):
            yield Reply(200, {}, self._counted(name, lie()))
            return
        file = self.public / name
        if lie is None and not file.is_file():
            yield Reply(404, {}, iter([b"no"]))
            return
        data = lie if lie is not None else file.read_bytes()
        at, stop = 0, len(data)
        if "range" in headers:
            first, last = headers["range"].removeprefix("bytes=").split("-")
            at, stop = int(first), min(stop, int(last) + 1) if last else stop
        pieces = (data[start : min(stop, start + PIECE)] for start in range(at, stop, PIECE))
        told = {"content-range": f"bytes {at}-{stop - 1}/{len(data)}"} if "range" in headers else {}
        yield Reply(206 if told else 200, told, self._counted(name, pieces))

    def _counted(self, name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.sent[name] = self.sent.get(name, 0) + len(piece)
            yield piece


def endless() -> Iterator[bytes]:
    """Bytes for ever."""
    while True:
        yield b"\0" * PIECE


def _signed(metadata: Metadata[S], key: Identity) -> bytes:
    sign(metadata, key)
    return serialise(metadata)


def _described(data: bytes) -> MetaFile:
    return MetaFile.from_data(_version(data), data, ["sha256"])


def _version(data: bytes) -> int:
    return int(json.loads(data)["signed"]["version"])
