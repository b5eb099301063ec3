"""The cache: below its limit, the longest unused goes first, and never what a pull needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import digest_bytes
from barnraise.errors import ConfigValueError, StorageError
from barnraise.releases import cache as cache_module
from barnraise.releases.cache import ENVIRONMENT, MAX_BYTES, Cache
from barnraise.releases.partial import Partial
from givers import blob_of


def filled(root: Path, sizes: list[int], most: int = MAX_BYTES) -> tuple[Cache, list[str]]:
    """A cache with blobs of these sizes, the longest unused first."""
    cache = Cache(root, most)
    digests = [cache.store.put(bytes([number]) * size) for number, size in enumerate(sizes)]
    for number, digest in enumerate(digests):
        os.utime(cache.store.path(digest), ns=(number, number))
    return cache, digests


@settings(deadline=None, max_examples=25)
@given(data=st.data(), sizes=st.lists(st.integers(0, 100), max_size=8), most=st.integers(0, 300))
def test_what_was_used_last_stays(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, sizes: list[int], most: int
) -> None:
    cache, digests = filled(tmp_path_factory.mktemp("cache"), sizes, most)
    needed = data.draw(st.sets(st.sampled_from(digests))) if digests else set()
    room = data.draw(st.integers(0, 50))
    with cache.used() as use:
        use.need(needed, room_bytes=room)
        left = {entry.digest for entry in cache.entries()}
        free = [digest for digest in digests if digest not in needed]
        kept = [digest for digest in free if digest in left]
        assert needed <= left
        assert kept == free[len(free) - len(kept) :]
        size = sum(entry.size_bytes for entry in cache.entries())
        gone = [sizes[digests.index(digest)] for digest in free if digest not in left]
        assert size + room <= most or not kept
        assert not gone or size + gone[-1] + room > most
    assert sum(entry.size_bytes for entry in cache.entries()) <= most


def test_using_a_blob_makes_it_young(tmp_path: Path) -> None:
    cache, digests = filled(tmp_path, [10, 10, 10])
    with cache.used() as use:
        use.need({digests[0]})
        assert [entry.digest for entry in cache.entries()] == [*digests[1:], digests[0]]
        assert [entry.needed for entry in cache.entries()] == [False, False, True]
    assert not list((tmp_path / "pulls").iterdir())


def test_another_pull_keeps_what_it_needs_until_it_ends(tmp_path: Path) -> None:
    cache, digests = filled(tmp_path, [10, 10, 10], most=0)
    with cache.used() as one:
        one.need({digests[0]})
        with cache.used() as other:
            other.need({digests[1]})
            assert cache.remove(digests[:2]) == []
        assert [entry.digest for entry in cache.entries()] == [digests[0]]
    assert cache.entries() == []


def test_a_pull_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    cache, digests = filled(tmp_path, [10], most=0)
    (tmp_path / "pulls").mkdir()
    (tmp_path / "pulls" / "1234-abcd").write_text(digests[0])
    assert [entry.digest for entry in cache.trim()] == digests
    assert not list((tmp_path / "pulls").iterdir())


def test_a_pull_that_ends_while_it_is_looked_at_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, (digest,) = filled(tmp_path, [3])
    (tmp_path / "pulls").mkdir()
    (tmp_path / "pulls" / "1-a").write_text(digest)

    def ends_just_then(path: Path) -> None:
        path.unlink()

    monkeypatch.setattr(cache_module, "lock_path", ends_just_then)
    assert [entry.needed for entry in cache.entries()] == [False]


def test_a_pull_begins_though_another_one_looks_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, cache = cache_module.lock_path, Cache(tmp_path)

    def looked_at(path: Path, *, wait: bool = False) -> int | None:
        return real(path, wait=True) if wait else None

    monkeypatch.setattr(cache_module, "lock_path", looked_at)
    with cache.used() as use:
        assert use.descriptor >= 0
        assert len(list(tmp_path.glob("pulls/*"))) == 1


def test_what_is_being_fetched_counts_and_stays(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path, [], most=0)
    partial = Partial(cache.store, blob_of(b"x" * 5000))
    assert partial.acquire()
    partial.write(0, b"x" * 4096)
    assert [(entry.is_whole, entry.size_bytes) for entry in cache.entries()] == [(False, 4096)]
    assert cache.trim() == []
    partial.release(keep=True)
    assert [entry.digest for entry in cache.trim()] == [blob_of(b"x" * 5000).digest]
    assert not list((tmp_path / "partial").iterdir())


def test_damage_is_found_and_removed(tmp_path: Path) -> None:
    cache, digests = filled(tmp_path, [10, 10])
    cache.store.path(digests[1]).write_bytes(b"something else")
    assert [entry.digest for entry in cache.verify()] == [digests[1]]
    assert [entry.digest for entry in cache.entries()] == [digests[0]]
    assert cache.verify() == []


def test_names_come_from_their_run(tmp_path: Path) -> None:
    cache, digests = filled(tmp_path, [10, 10])
    for _ in range(2):
        cache.know("tiny-lm", {digests[0]: "0.1.0 keyframe", digest_bytes(b"elsewhere"): "0.1.1 patch"})
    names = tmp_path / "names"
    for name, text in {"a": "[", "b": "[1]", "Not a name": "{}", "c": "[" * 100_000}.items():
        (names / f"{name}.json").write_text(text)
    assert [entry.belongs_to for entry in cache.entries()] == ["tiny-lm 0.1.0 keyframe", ""]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cache_module, "NAMES_MAX_BYTES", 1)
        assert [entry.belongs_to for entry in cache.entries()] == ["", ""]


def test_the_user_s_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert Cache.of_user() == Cache(tmp_path / "barnraise", 10 << 30)
    monkeypatch.setenv(ENVIRONMENT, "1000")
    assert Cache.of_user().max_bytes == 1000
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert Cache.of_user().root == Path.home() / ".cache" / "barnraise"
    for text in ("10GiB", "-1", "1" * 30, "\u0661"):
        monkeypatch.setenv(ENVIRONMENT, text)
        with pytest.raises(ConfigValueError, match="expected a number of bytes"):
            Cache.of_user()


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="name another folder with --cache"), Cache(tmp_path / "file").used():
        pass


def test_no_cache_is_an_empty_one(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "none")
    assert (cache.entries(), cache.trim(), cache.remove(["x"]), cache.verify()) == ([], [], [], [])
    assert not (tmp_path / "none").exists()
