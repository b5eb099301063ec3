"""What a client remembers of a run, and that nothing which happens meanwhile confuses it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from barnraise.clock import now_ms
from barnraise.digest import digest_bytes
from barnraise.errors import (
    NoSuchVersionError,
    StorageError,
    UnreachableError,
    VerificationError,
)
from barnraise.identity import Identity
from barnraise.releases.offline import Offline
from barnraise.releases.roles import INDEX_TARGET, NIGHTLY, Keys, delegated_list, make_root
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import TrustOptions, data_home, read_index
from barnraise.run_folder import RunFolder
from maintained import hand_over, promote, rotate_online, signed
from mallory import Mallory
from published import PublishedRun, published

ROOT, ONLINE = Identity.from_seed(b"r" * 32), Identity.from_seed(b"o" * 32)


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def run(tmp_path: Path) -> PublishedRun:
    return published(tmp_path / "run", releases=2)


@dataclass
class Interrupted:
    """A source at which something happens just before the read with this number."""

    source: FolderSource
    at: int
    happens: Callable[[], object]
    reads: int = 0

    @property
    def label(self) -> str:
        return self.source.label

    @property
    def vouches(self) -> bool:
        return self.source.vouches

    def read(self, path: str, most: int) -> bytes:
        if self.reads == self.at:
            self.happens()
        self.reads += 1
        return self.source.read(path, most)

    def open_blob(self, *_: Any) -> Any:
        raise AssertionError("no blob is needed to read the lists")


CHANGES: dict[str, Callable[[PublishedRun], object]] = {
    "a release": lambda run: run.release(f"0.1.{len(run.entries)}"),
    "a renewal": lambda run: run.repository.renew(now_ms() + 40 * 86_400_000),
    "a new online key": rotate_online,
    "a promotion": lambda run: promote(run, "0.1.0"),
}


@pytest.mark.parametrize("vouched", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_published_between_two_requests(
    run: PublishedRun, tmp_path: Path, change: str, vouched: bool
) -> None:
    hand_over(run)
    if vouched:
        run.as_run_folder()
    for at in range(20):
        fresh = PublishedRun(tmp_path / f"run-{at}", entries=list(run.entries), channels=dict(run.channels))
        fresh.models.update(run.models)
        shutil.copytree(run.root, fresh.root)
        was = fresh.index()
        seen = FolderSource(fresh.root if vouched else fresh.public)
        source = Interrupted(seen, at, partial(CHANGES[change], fresh))
        trusted = read_index(source, TrustOptions(home=tmp_path / f"home-{at}"))
        assert trusted.index in (was, fresh.index())
        if source.reads <= at:
            assert at > 6
            return
    raise AssertionError("there is no end of reads")


def test_many_readers_at_once(run: PublishedRun) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: read_index(FolderSource(run.public)), range(16)))
    assert all(one == found[0] for one in found)


def test_what_is_remembered_is_small_and_survives_damage(run: PublishedRun, tmp_path: Path) -> None:
    source, folder = FolderSource(run.public), data_home() / "trust" / "tiny-lm"
    assert folder.is_relative_to(tmp_path)
    trusted = read_index(source)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != "first.root.json":
            path.write_bytes(path.read_bytes()[:7])
            assert read_index(source) == trusted, path.name
    (folder / "first.root.json").write_bytes(b"{}")
    with pytest.raises(VerificationError, match="was pinned"):
        read_index(source)


def test_a_later_root_that_was_pinned_is_found_again(run: PublishedRun, tmp_path: Path) -> None:
    hand_over(run)
    later = (run.public / "metadata" / "2.root.json").read_bytes()
    read_index(FolderSource(run.public), TrustOptions(digest_bytes(later)))
    again = read_index(FolderSource(run.public))
    assert (again.root_digest, again.warnings) == (digest_bytes(later), ())
    other = published(tmp_path / "other", releases=1, stranger=True)
    with pytest.raises(VerificationError, match="was pinned"):
        read_index(FolderSource(other.public))


def test_a_run_folder_that_is_not_the_one_that_was_pinned_is_remarked_on(run: PublishedRun, tmp_path: Path) -> None:
    read_index(FolderSource(run.public))
    run.as_run_folder()
    assert read_index(FolderSource(run.root)).warnings == ()
    other = published(tmp_path / "other", releases=1, stranger=True)
    other.as_run_folder()
    (warning,) = read_index(FolderSource(other.root)).warnings
    assert "that is pinned for tiny-lm here" in warning


def test_reading_again_fetches_only_what_is_new(run: PublishedRun, tmp_path: Path) -> None:
    mallory = Mallory.mirrors(run, tmp_path / "mirror")
    read_index(mallory.source)
    mallory.sent.clear()
    read_index(mallory.source)
    assert sorted(mallory.sent) == ["metadata/1.root.json", "metadata/timestamp.json"]


def test_a_source_that_does_not_answer_is_not_called_a_liar(run: PublishedRun, tmp_path: Path) -> None:
    def silent() -> None:
        raise UnreachableError("it does not answer; try again")

    for at in range(7):
        with pytest.raises(UnreachableError, match="does not answer"):
            read_index(Interrupted(FolderSource(run.public), at, silent), TrustOptions(home=tmp_path / f"home-{at}"))
        assert not (tmp_path / f"home-{at}" / "tiny-lm").exists()


def test_files_that_are_gone(run: PublishedRun, tmp_path: Path) -> None:
    whole = Mallory.mirrors(run, tmp_path / "whole")
    read_index(whole.source, TrustOptions(home=tmp_path / "home"))
    for number, name in enumerate(sorted(whole.sent)):
        mallory = Mallory.mirrors(run, tmp_path / f"mirror-{number}")
        (mallory.public / name).unlink()
        first = name in {"metadata/1.root.json", "metadata/timestamp.json"}
        kind, words = (NoSuchVersionError, "lists no releases") if first else (VerificationError, "is not whole")
        with pytest.raises(kind, match=words):
            read_index(mallory.source, TrustOptions(home=tmp_path / f"home-{number}"))


def test_a_memory_that_cannot_be_written(run: PublishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/sys/data")  # where not even root makes a folder
    with pytest.raises(StorageError, match="XDG_DATA_HOME"):
        read_index(FolderSource(run.public))


def test_a_memory_that_is_in_the_way(run: PublishedRun, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    with pytest.raises(StorageError, match="XDG_DATA_HOME"):
        read_index(FolderSource(run.public))


@pytest.mark.parametrize("name", ["../../evil", "", "Tiny LM", "a/b"])
def test_a_root_names_a_run_not_a_path(run: PublishedRun, tmp_path: Path, name: str) -> None:
    root = make_root(name, Keys((ROOT.public,), 1, ONLINE.public), 1, now_ms())
    (run.public / "metadata" / "1.root.json").write_bytes(signed(root, ROOT))
    with pytest.raises(VerificationError, match="not acceptable"):
        read_index(FolderSource(run.public))
    assert not (tmp_path / "data").exists()


def test_an_index_of_another_run_is_refused(run: PublishedRun, tmp_path: Path) -> None:
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    other = run.index().model_copy(update={"name": "other-lm"})
    mallory.forges(Identity.load_or_create(RunFolder(run.root).online_key), other, 2**31)
    with pytest.raises(VerificationError, match="has the keys of tiny-lm"):
        read_index(mallory.source)
    with pytest.raises(VerificationError, match="one of tiny-lm, the index one of other-lm"):
        run.repository.publish(other, now_ms())


def test_metadata_that_names_a_path_is_not_followed(run: PublishedRun, tmp_path: Path) -> None:
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    key = Identity.load_or_create(RunFolder(run.root).online_key)
    evil = delegated_list(NIGHTLY, INDEX_TARGET, run.index().canonical(), 2**31, now_ms())
    evil.signed.targets[INDEX_TARGET].hashes = {"sha256": "../../secret"}
    others = {"targets.json": mallory.reads(mallory.newest("targets")), "nightly.json": signed(evil, key)}
    mallory.forges(key, run.index(), 2**31, others)
    (tmp_path / "secret.index.json").write_bytes(run.index().canonical())
    for source in (mallory.source, FolderSource(mallory.public)):
        with pytest.raises(VerificationError, match="names a file"):
            read_index(source)


def test_offline_is_what_is_published(run: PublishedRun) -> None:
    assert digest_bytes(run.repository.offline.roots[0]) == read_index(FolderSource(run.public)).root_digest
    offline = Offline.found("tiny-lm", ROOT, ONLINE, 0)
    assert Offline.unpack(offline.pack(), "it") == offline
