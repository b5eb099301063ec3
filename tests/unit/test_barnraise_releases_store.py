"""Laws of the content-addressed store."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import digest_bytes
from barnraise.errors import BlobMissingError, DiskFullError
from barnraise.releases.durable import disk_full_translated, replace_file, write_temporary
from barnraise.releases.store import BlobStore


@settings(deadline=None, max_examples=30)
@given(data=st.binary(max_size=4096))
def test_what_was_put_comes_back_under_its_digest(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    store = BlobStore(tmp_path_factory.mktemp("store"))
    digest = store.put(data)
    assert digest == digest_bytes(data) == store.put(data)
    assert store.has(digest)
    assert store.read(digest) == data == bytes(store.map(digest))
    assert store.size(digest) == len(data)
    assert store.path(digest) == store.root / "blobs" / digest[3:5] / digest[5:]


@pytest.mark.parametrize(
    "name", ["", "../etc/passwd", "b3:", "b3:" + "A" * 64, "b3:" + "a" * 63, "b3:" + "a" * 64 + "\n"]
)
def test_only_a_digest_becomes_a_path(tmp_path: Path, name: str) -> None:
    store = BlobStore(tmp_path)
    for use in (store.path, store.has, store.read, store.delete, store.map, store.size):
        with pytest.raises(BlobMissingError):
            use(name)


def test_a_missing_blob_says_so(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest = digest_bytes(b"nothing")
    assert not store.has(digest)
    for use in (store.read, store.size, store.map):
        with pytest.raises(BlobMissingError, match="pull from another mirror"):
            use(digest)
    store.delete(digest)


def test_what_is_written_beside_has_no_name_until_it_is_adopted(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    written = store.write_beside(b"payload")
    assert not store.has(digest_bytes(b"payload"))
    assert list(store.stored()) == []
    store.adopt(written, digest_bytes(b"payload"))
    assert store.read(digest_bytes(b"payload")) == b"payload"
    assert store.sweep() == 0


def test_what_comes_in_parts_is_named_by_all_of_them(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    path, digest, size_bytes = store.write_parts_beside(iter([b"pay", b"", b"load"]))
    assert (path.read_bytes(), digest, size_bytes) == (b"payload", digest_bytes(b"payload"), 7)

    def broken() -> Iterator[bytes]:
        yield b"pay"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        store.write_parts_beside(broken())
    assert list((tmp_path / "incoming").glob("*.part")) == [path]


def test_only_a_durable_store_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        waited.append(descriptor)
        real(descriptor)

    stores = {durable: BlobStore(tmp_path / str(durable), durable=durable) for durable in (True, False)}
    for store in stores.values():
        store.put(b"first")  # makes the folders, whose names are durable in both
        upload = tmp_path / "upload"
        upload.write_bytes(b"second")
        store.path(digest_bytes(b"second")).parent.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", fsync)
    counts = {}
    for durable, store in stores.items():
        waited.clear()
        upload.write_bytes(b"second")
        store.adopt(upload, digest_bytes(b"second"))
        store.put(b"first")
        counts[durable] = len(waited)
        assert store.read(digest_bytes(b"second")) == b"second"
    assert counts == {True: 3, False: 0}  # content and name of the one, name of the other


def test_adopt_moves_the_file(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "store")
    for _ in range(2):  # the second time the blob is there already
        upload = tmp_path / "upload.part"
        upload.write_bytes(b"payload")
        store.adopt(upload, digest_bytes(b"payload"))
        assert not upload.exists()
        assert store.read(digest_bytes(b"payload")) == b"payload"


def test_link_from_shares_a_blob(tmp_path: Path) -> None:
    private, public = BlobStore(tmp_path / "private"), BlobStore(tmp_path / "public")
    digest = private.put(b"merged update")
    public.link_from(private, digest)
    public.link_from(private, digest)
    private.delete(digest)
    assert public.read(digest) == b"merged update"
    with pytest.raises(BlobMissingError):
        public.link_from(private, digest_bytes(b"other"))


def test_a_full_disk_stores_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    def write(descriptor: int) -> None:
        os.write(descriptor, b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFullError, match="Free some space"):
        write_temporary(tmp_path, write)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said", "cure"),
    [
        (errno.ENOSPC, "no space left", "Free some space"),
        (errno.EDQUOT, "your disk quota is used up", "Free some space"),
        (errno.EFBIG, "a file would be larger than it may be", "ulimit -f"),
    ],
)
def test_what_takes_no_more_is_said_by_its_own_name(number: int, said: str, cure: str) -> None:
    with pytest.raises(DiskFullError) as caught, disk_full_translated(Path("/node")):
        raise OSError(number, "said")
    told = str(caught.value)
    assert told.startswith(f"{said} while writing below /node (said); ")
    assert cure in told
    assert ("no space left" in told) is (number == errno.ENOSPC)


def test_replace_file_keeps_other_errors(tmp_path: Path) -> None:
    replace_file(tmp_path / "a", b"old")
    replace_file(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "missing" / "a", b"data")


def test_sweep_removes_what_a_crash_left(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest = store.put(b"kept")
    (tmp_path / "incoming" / "0123.part").write_bytes(b"half")
    assert store.sweep() == 1
    assert store.sweep() == 0
    assert store.read(digest) == b"kept"


def old(store: BlobStore, digest: str) -> None:
    os.utime(store.path(digest), ns=(1, 1))


def test_stored_lists_the_blobs_and_nothing_else(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    assert list(store.stored()) == []
    digests = sorted(store.put(data) for data in (b"one", b"two", b"three"))
    (tmp_path / "blobs" / "notes.txt").write_text("not a blob")
    (store.path(digests[0]).parent / "0123.part").write_bytes(b"half")
    assert [blob.digest for blob in store.stored()] == digests
    assert {blob.size_bytes for blob in store.stored()} == {3, 5}


def test_a_blob_that_is_stored_again_is_not_removed(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest = store.put(b"old")
    old(store, digest)
    (seen,) = store.stored()
    store.put(b"old")
    assert not store.remove(seen)
    assert store.has(digest)
    (seen,) = store.stored()
    assert store.remove(seen)
    assert store.remove(seen)
    assert not store.has(digest)


def test_linking_and_adopting_make_young_as_storing_does(tmp_path: Path) -> None:
    private, public = BlobStore(tmp_path / "private"), BlobStore(tmp_path / "public")
    digest = private.put(b"merged update")
    for _ in range(2):  # the second time it is there already
        old(private, digest)
        public.link_from(private, digest)
        assert next(public.stored()).stored_at_ns > 1
    upload = tmp_path / "upload"
    upload.write_bytes(b"merged update")
    old(public, digest)
    public.adopt(upload, digest)
    assert next(public.stored()).stored_at_ns > 1
