"""Blobs of one commit: nobody waits for each, nobody sees half, and all are on the disk when the block ends."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from barnraise.digest import digest_bytes
from barnraise.releases import store as store_module
from barnraise.releases.store import BlobStore
from contributor.keeping import keeping


def files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.name != "lock"]


def test_what_is_put_is_there_once_the_block_has_ended(tmp_path: Path) -> None:
    store, vector_P = BlobStore(tmp_path), np.arange(5, dtype=np.float32)
    with keeping(store) as kept:
        digest = kept.put(b"an update")
        vector = kept.put_vector(vector_P)
        again = kept.put(b"an update")
        assert not store.has(digest)
    assert again == digest == digest_bytes(b"an update")
    assert store.read(digest) == b"an update"
    assert store.read(vector) == vector_P.tobytes()
    assert len(files_below(tmp_path / "blobs")) == 2
    assert not files_below(tmp_path / "incoming")


def test_every_blob_is_on_the_disk_before_it_has_a_name_and_every_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, Path]] = []
    file, folder = store_module.fsync_file, store_module.fsync_folder
    monkeypatch.setattr(store_module, "fsync_file", lambda path: (done.append(("content", path)), file(path)))
    monkeypatch.setattr(store_module, "fsync_folder", lambda path: (done.append(("names", path)), folder(path)))
    store = BlobStore(tmp_path)
    with keeping(store) as kept:
        digests = [kept.put(bytes([i])) for i in range(8)]
        assert not done
    assert [what for what, _ in done[:8]] == ["content"] * 8
    folders = {store.path(digest).parent for digest in digests}
    assert {path for what, path in done[8:] if what == "names"} == folders
    assert len(done) == 8 + len(folders)


@pytest.mark.parametrize("also", [False, True])
def test_nobody_waits_for_what_a_power_cut_may_take_unless_it_is_needed_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, also: bool
) -> None:
    waited: list[bytes] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            waited.append(Path(f"/proc/self/fd/{descriptor}").read_bytes())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store, moments_P = BlobStore(tmp_path), np.arange(5, dtype=np.float32)
    with keeping(store) as kept:
        needed = kept.put(b"an update")
        digest = kept.put_dispensable(moments_P)
        if also:
            assert kept.put_vector(moments_P) == digest
    assert sorted(waited) == sorted([b"an update", *([moments_P.tobytes()] if also else [])])
    assert store.read(digest) == moments_P.tobytes()
    assert store.has(needed)


def test_a_block_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), keeping(BlobStore(tmp_path)) as kept:  # noqa: PT012
        kept.put(b"an update")
        raise ValueError("no")
    assert not files_below(tmp_path)
