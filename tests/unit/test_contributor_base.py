"""Bases from releases, with and without other nodes: what is fetched, what is kept for others, and nothing else."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from barnraise.errors import DiskFullError, SwarmError
from barnraise.protocol import Lease, RunInfo
from barnraise.releases.index import IndexEntry
from barnraise.releases.source import FolderSource
from barnraise.swarm.process import Sidecar, SidecarState
from contributor import base as module
from contributor.base import ReleasedBase
from contributor.events import NodeEvent
from contributor.folder import NodeFolder
from contributor.governor.wish import Advice
from contributor.interrupt import Interrupt
from contributor.resting import Rest
from contributor.swarm.around import Swarm
from contributor.swarm.peer_blobs import SMALLEST_BYTES
from contributor.swarm.status import SwarmTally
from contributor.whereabouts import Whereabouts
from published import NAME, PublishedRun, published


class Neighbour:
    """A sidecar that finds every blob with another node, or none."""

    def __init__(self, run: PublishedRun, *, has_all: bool) -> None:
        self._run, self._has_all = run, has_all
        self.state = SidecarState("ready")
        self.asked: list[str] = []

    def ask(self, _command: str, _timeout_s: float, *, digest: str, size: int) -> dict[str, Any]:
        assert size >= SMALLEST_BYTES
        self.asked.append(digest)
        if not self._has_all:
            raise SwarmError("the sidecar for peers is down")
        return {"path": str(self._run.store.path(digest))}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedRun:
    """Published where the coordinator's gateway is."""
    made = published(tmp_path / "run", releases=2)
    monkeypatch.setattr(module, "HttpSource", lambda *_arguments, **_options: FolderSource(made.public))
    return made


def _bases(folder: NodeFolder, sidecar: Neighbour | None) -> ReleasedBase:
    info = cast("RunInfo", SimpleNamespace(name=NAME, root_digest=None))
    blobs = cast("Sidecar", sidecar)
    return ReleasedBase(Whereabouts("http://gone"), info, folder, None, Swarm(blobs=blobs, tally=SwarmTally("blobs")))


def _lease(entry: IndexEntry) -> Lease:
    return cast("Lease", SimpleNamespace(base_version=entry.version, base_digest=entry.model_digest, mask=None))


def _folder(tmp_path: Path) -> NodeFolder:
    (tmp_path / "node").mkdir()
    return NodeFolder(tmp_path / "node")


def _kept(folder: NodeFolder) -> set[str]:
    return {path.parent.name + path.name for path in folder.cache.glob("blobs/*/*")}


@pytest.mark.parametrize("has_all", [True, False])
def test_with_or_without_a_node_that_has_it_the_base_is_the_same(
    run: PublishedRun, tmp_path: Path, has_all: bool
) -> None:
    sidecar = Neighbour(run, has_all=has_all)
    bases = _bases(_folder(tmp_path), sidecar)
    entry = run.entries[-1]
    base = bases.fetch(_lease(entry))
    assert (base.flat_P == run.models[entry.version]).all()
    blob = run.entries[0].keyframe
    assert blob is not None
    assert blob.digest in sidecar.asked
    told = bases.swarm.tally.now().blobs
    assert told is not None
    assert (told["from_gateway_bytes"] >= blob.size_bytes) is not has_all


def test_a_node_that_gives_keeps_what_it_pulled_and_only_that(run: PublishedRun, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    bases = _bases(folder, Neighbour(run, has_all=True))
    for entry in run.entries:
        bases.fetch(_lease(entry))
    kept = _kept(folder)
    released = {path.parent.name + path.name for path in run.public.glob("blobs/*/*")}
    assert {blob.digest[3:] for entry in run.entries for blob in (entry.keyframe, entry.patch) if blob} <= kept
    assert kept <= released


@pytest.mark.parametrize("free_bytes", [None, 10_000])
def test_a_node_alone_or_on_a_disk_that_gets_full_keeps_nothing_that_is_large(
    run: PublishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int | None
) -> None:
    folder = _folder(tmp_path)
    if free_bytes is not None:
        monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: SimpleNamespace(free=free_bytes))
        monkeypatch.setattr("barnraise.releases.pull._require_space", lambda *_arguments: None)
    bases = _bases(folder, None if free_bytes is None else Neighbour(run, has_all=True))
    bases.fetch(_lease(run.entries[0]))
    sizes = [path.stat().st_size for path in folder.cache.glob("blobs/*/*")]
    assert sum(sizes) <= (free_bytes or 0) // 8


def test_a_disk_too_small_for_the_base_is_said_in_words_of_a_node(
    run: PublishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1_000))
    with pytest.raises(DiskFullError, match=r"1,000 bytes are free.*barnraise doctor http://gone.*--home") as caught:
        _bases(_folder(tmp_path), None).fetch(_lease(run.entries[0]))
    assert "--into" not in str(caught.value)  # which is an option of pull


def test_a_quota_that_is_used_up_is_said_without_the_bytes_that_are_free(
    run: PublishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used_up(*_arguments: object) -> int:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    folder = NodeFolder.of(tmp_path / "big disk", "toy", "ab" * 32)
    folder.root.mkdir(parents=True)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", used_up)
        with pytest.raises(DiskFullError, match=r"does not fit: Disk quota exceeded\.") as caught:
            _bases(folder, None).fetch(_lease(run.entries[0]))
    assert "are free" not in str(caught.value)
    assert f"barnraise doctor http://gone --home '{tmp_path / 'big disk'}' says" in str(caught.value)


@pytest.mark.parametrize(("number", "look"), [(errno.ENOSPC, "df -h"), (errno.EDQUOT, "quota -s")])
def test_the_line_about_a_base_without_room_loses_nothing_to_long_folders_and_addresses(
    run: PublishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, look: str
) -> None:
    def takes_no_more(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.chdir(tmp_path)
    home, url = Path("h" * 60), "https://" + "u" * 32
    folder = NodeFolder.of(home, "toy-of-words", "ab" * 32)
    folder.root.mkdir(parents=True)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: SimpleNamespace(free=123_456_789_012))
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", takes_no_more)
        with pytest.raises(DiskFullError) as caught:
            replace(_bases(folder, None), where=Whereabouts(url)).fetch(_lease(run.entries[0]))
    said: list[NodeEvent] = []
    rest = Rest(Interrupt(lambda _seconds: None), cast("Advice", None), said.append)
    rest.for_room("waiting for room on the disk", caught.value, folder.root)
    (line,) = (event.line() for event in said)
    assert f"(see: {look if look == 'quota -s' else f'df -h {folder.root}'}; looking again" in line
    assert line.endswith(f"(barnraise doctor {url} --home {home} says how much), or join with another --home.")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_off(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


@pytest.mark.parametrize("torn", [_empty, _cut_off, Path.unlink])
def test_a_base_that_a_power_cut_has_torn_is_pulled_anew(
    run: PublishedRun, tmp_path: Path, torn: Callable[[Path], None]
) -> None:
    folder, entry = _folder(tmp_path), run.entries[-1]
    bases = _bases(folder, None)
    bases.fetch(_lease(entry))
    for name in sorted(str(path.relative_to(folder.base)) for path in folder.base.rglob("*") if path.is_file()):
        torn(folder.base / name)
        base = bases.fetch(_lease(entry))
        assert (base.flat_P == run.models[entry.version]).all(), name
        assert base.fetched_bytes, name
        assert any("cannot be built upon and will be replaced" in warning for warning in base.warnings), name
    again = bases.fetch(_lease(entry))
    assert (again.fetched_bytes, again.warnings) == (0, ())


def test_nobody_waits_until_the_disk_has_a_base(
    run: PublishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bases = _bases(_folder(tmp_path), None)
    bases.fetch(_lease(run.entries[0]))
    waited: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: waited.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    bases.fetch(_lease(run.entries[-1]))
    assert not [path for path in waited if "base" in path or path.endswith("blobs")]


def test_the_gateway_is_asked_through_one_source_until_it_moves(
    run: PublishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(module, "HttpSource", lambda url, **_: (asked.append(url), FolderSource(run.public))[1])
    bases = _bases(_folder(tmp_path), None)
    for entry in run.entries:
        bases.fetch(_lease(entry))
    bases.where.move("http://elsewhere")
    bases.fetch(_lease(run.entries[-1]))
    assert asked == ["http://gone", "http://elsewhere"]
