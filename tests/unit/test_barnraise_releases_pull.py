"""Pulling from a folder: what arrives is exact, what is wrong changes nothing."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from barnraise.digest import canonical_json, digest_bytes
from barnraise.errors import (
    BarnraiseError,
    BlobMissingError,
    DiskFullError,
    FolderLockedError,
    NoSuchVersionError,
    NotARunFolderError,
    StorageError,
    UsageError,
    VerificationError,
)
from barnraise.message import BlobRef
from barnraise.releases import durable as durable_module
from barnraise.releases import installed as installed_module
from barnraise.releases import model_files as model_files_module
from barnraise.releases import pull as pull_module
from barnraise.releases.cache import Cache
from barnraise.releases.fetch import Progress
from barnraise.releases.index import IndexEntry
from barnraise.releases.installed import Form
from barnraise.releases.layout import side_files
from barnraise.releases.load import load
from barnraise.releases.manifest import Manifest
from barnraise.releases.publish import store_blob
from barnraise.releases.pull import Pulling, PullOptions, PullResult, pull, would_pull
from barnraise.releases.source import FolderSource, open_source
from barnraise.releases.trust import TrustOptions, read_index
from published import SPACE, PublishedRun, dense_patch, published


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def fetch(run: PublishedRun, into: Path, wanted: str = "^0.1", **options: Any) -> PullResult:
    return pull(FolderSource(run.public), f"{run.name}@{wanted}", into, PullOptions(**options))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def documents_bytes(run: PublishedRun, entry: IndexEntry) -> int:
    """Size of what a release consists of beside its model."""
    manifest = Manifest.read(json.loads(run.store.read(entry.manifest.digest)))
    refs = {ref.digest: ref for ref in (entry.manifest, *side_files(manifest).values())}
    return sum(ref.size_bytes for ref in refs.values())


def test_a_release_arrives_bit_for_bit(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    done = fetch(run, tmp_path / "model")
    assert (done.version, done.changed, done.warnings) == ("0.1.3", True, ())
    model, space, flat_P = load(tmp_path / "model")
    assert model.dim == 8
    assert space == SPACE
    assert flat_P.tobytes() == run.models["0.1.3"].tobytes()
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    assert tensors["embedding"].shape == (256, 8)
    assert done.model_bytes == (tmp_path / "model" / "model.safetensors").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "model", "run", "xdg"]


def test_following_the_trunk_costs_one_patch(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    fetch(run, tmp_path / "model", cache=Cache(tmp_path / "cache", max_bytes=0))
    entry = run.release("0.1.2")
    done = fetch(run, tmp_path / "model", cache=Cache(tmp_path / "cache", max_bytes=0))
    assert entry.patch is not None
    assert done.plan.keyframe is None
    assert done.fetched_bytes == entry.patch.size_bytes + documents_bytes(run, entry)
    assert load(tmp_path / "model")[2].tobytes() == run.models["0.1.2"].tobytes()


def test_pulling_again_changes_and_fetches_nothing(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    fetch(run, tmp_path / "model")
    inode = (tmp_path / "model").stat().st_ino
    done = fetch(run, tmp_path / "model")
    assert (done.changed, done.fetched_bytes) == (False, 0)
    assert (tmp_path / "model").stat().st_ino == inode


def test_what_a_pull_would_do_is_what_it_does(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    source = FolderSource(run.public)
    would = would_pull(source, "tiny-lm", tmp_path / "model", PullOptions(cache=Cache(tmp_path / "other")))
    assert not (tmp_path / "model").exists()
    told: list[tuple[str, int]] = []

    @contextmanager
    def watch(pulling: Pulling) -> Iterator[Progress]:
        assert not (tmp_path / "model").exists()
        assert pulling.plan == would.plan
        yield lambda blob, count: told.append((blob.digest, count))

    done = pull(source, "tiny-lm", tmp_path / "model", PullOptions(watch=watch))
    assert would.plan == done.plan
    assert {blob.digest for blob in would.plan.fetch} == {digest for digest, _ in told}
    assert len(would.plan.fetch) > 6
    assert done.fetched_bytes == would.plan.fetch_bytes == sum(count for _, count in told)
    assert would_pull(source, "tiny-lm", tmp_path / "model").is_there


def test_a_model_that_the_cache_can_rebuild_costs_a_patch(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    fetch(run, tmp_path / "one")
    entry = run.release("0.1.2")
    assert entry.patch is not None
    done = fetch(run, tmp_path / "two")
    assert [line.endswith(", at hand)") for line in done.plan.lines()] == [True, True, False]
    assert entry.patch.size_bytes < done.fetched_bytes <= entry.patch.size_bytes + documents_bytes(run, entry)
    assert load(tmp_path / "two")[2].tobytes() == run.models["0.1.2"].tobytes()


def test_what_was_converted_cannot_be_built_upon(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    cache = Cache(tmp_path / "cache", max_bytes=0)
    assert fetch(run, tmp_path / "model", form=Form("BF16"), cache=cache).changed
    assert not fetch(run, tmp_path / "model", form=Form("BF16"), cache=cache).changed
    run.release("0.1.2")
    assert fetch(run, tmp_path / "model", form=Form("BF16"), cache=cache).plan.keyframe is not None
    assert fetch(run, tmp_path / "model", cache=cache).changed
    assert load(tmp_path / "model")[2].tobytes() == run.models["0.1.2"].tobytes()


def test_a_channel_that_is_moved_back_takes_its_followers_along(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=3)
    assert fetch(run, tmp_path / "model", "nightly").version == "0.1.2"
    run.channels["nightly"] = "0.1.1"
    run.write_index()
    assert fetch(run, tmp_path / "model", "nightly").version == "0.1.1"
    assert load(tmp_path / "model")[2].tobytes() == run.models["0.1.1"].tobytes()


def test_rolling_back_and_yanked_releases(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    run.release("0.1.2", yanked="leaked a test")
    assert fetch(run, tmp_path / "model").version == "0.1.1"
    done = fetch(run, tmp_path / "model", "0.1.2")
    assert done.warnings == ("0.1.2 was yanked: leaked a test",)
    assert fetch(run, tmp_path / "model", "0.1.0").version == "0.1.0"
    assert load(tmp_path / "model")[2].tobytes() == run.models["0.1.0"].tobytes()


def test_a_cache_saves_fetching_again(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    source = FolderSource(run.public)
    pull(source, "tiny-lm@0.1.3", tmp_path / "one")
    done = pull(source, "tiny-lm@0.1.3", tmp_path / "two")
    assert done.fetched_bytes == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_damaged_cache_is_fetched_anew(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    source, cache = FolderSource(run.public), Cache(tmp_path / "cache")
    pull(source, "tiny-lm", tmp_path / "one", PullOptions(cache=cache))
    keyframe = run.entries[0].keyframe
    assert keyframe is not None
    cache.store.path(keyframe.digest).write_bytes(b"\0" * keyframe.size_bytes)
    would = would_pull(source, "tiny-lm", tmp_path / "two", PullOptions(cache=cache))
    done = pull(source, "tiny-lm", tmp_path / "two", PullOptions(cache=cache))
    assert done.fetched_bytes == would.plan.fetch_bytes == keyframe.size_bytes
    assert load(tmp_path / "two")[2].tobytes() == run.models["0.1.0"].tobytes()


def test_a_cache_that_is_too_small_for_a_pull_serves_it_all_the_same(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    cache = Cache(tmp_path / "cache", max_bytes=1)
    assert fetch(run, tmp_path / "model", cache=cache).changed
    assert cache.entries() == []


def test_the_cache_knows_what_is_in_it(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    fetch(run, tmp_path / "model")
    names = {entry.belongs_to for entry in Cache.of_user().entries()}
    assert {"tiny-lm 0.1.0 keyframe", "tiny-lm 0.1.1 patch", "tiny-lm 0.1.1 manifest"} <= names
    assert "" not in names


def test_a_damaged_folder_is_replaced_with_a_warning(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    fetch(run, tmp_path / "model")
    with (tmp_path / "model" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    done = fetch(run, tmp_path / "model")
    assert done.changed
    assert "tensor embedding" in done.warnings[0]
    assert load(tmp_path / "model")[2].tobytes() == run.models["0.1.3"].tobytes()


def tamper(run: PublishedRun, ref: BlobRef, data: bytes) -> None:
    path = run.store.path(ref.digest)
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("which", ["manifest", "keyframe", "patch"])
@pytest.mark.parametrize("damage", ["flipped", "short", "long", "gone"])
def test_a_bad_blob_installs_nothing(tmp_path: Path, which: str, damage: str) -> None:
    run = published(tmp_path / "run", releases=2)
    cache = Cache(tmp_path / "cache", max_bytes=0)
    fetch(run, tmp_path / "model", "0.1.0", cache=cache)
    before = contents(tmp_path / "model")
    ref = getattr(run.entries[0 if which == "keyframe" else 1], which)
    data = run.store.read(ref.digest)
    bad = {"flipped": bytes([data[0] ^ 1]) + data[1:], "short": data[:-1], "long": b"x" + data, "gone": b""}[damage]
    tamper(run, ref, bad)
    if damage == "gone":
        run.store.path(ref.digest).unlink()
    into = tmp_path / ("new" if which == "keyframe" else "model")
    with pytest.raises(BlobMissingError if damage == "gone" else VerificationError):
        fetch(run, into, "0.1.1", cache=cache)
    assert contents(tmp_path / "model") == before
    assert not (tmp_path / "new").exists()


def test_a_patch_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    first, second = run.entries
    for patch in (
        dense_patch(first.model_digest, np.ones(SPACE.size, dtype=np.float32)),
        dense_patch(second.model_digest, np.ones(SPACE.size, dtype=np.float32)),
        dense_patch(first.model_digest, np.ones(SPACE.size, dtype=np.float32), role="update"),
        b"no update at all",
    ):
        ref = store_blob(run.store, patch)
        run.entries[1] = republished(run, 1, patch=ref)
        run.write_index()
        with pytest.raises(VerificationError):
            fetch(run, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def republished(run: PublishedRun, number: int, patch: BlobRef) -> IndexEntry:
    """An entry whose manifest names another patch, as a faulty coordinator would publish it."""
    entry = run.entries[number]
    body = {**json.loads(run.store.read(entry.manifest.digest)), "patch": patch.model_dump()}
    manifest = store_blob(run.store, Manifest.read(body).canonical())
    return entry.model_copy(update={"patch": patch, "manifest": manifest})


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 100_000, b'{"signed": {}, "signatures": 1}', b"\xff\xfe"])
@pytest.mark.parametrize("name", ["1.root.json", "timestamp.json"])
def test_metadata_that_is_none(tmp_path: Path, name: str, data: bytes) -> None:
    run = published(tmp_path / "run", releases=1)
    (run.public / "metadata" / name).write_bytes(data)
    with pytest.raises(VerificationError, match=r"not acceptable|not what it should be|not one of ours"):
        fetch(run, tmp_path / "model")
    assert not list((tmp_path / "data").rglob("first.root.json"))


def test_a_first_root_is_pinned_and_another_one_refused(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    fetch(run, tmp_path / "model")
    stranger = PublishedRun(tmp_path / "stranger")
    stranger.release("0.1.9")
    before, known = contents(tmp_path / "model"), TrustOptions().pinned("tiny-lm")
    with pytest.raises(VerificationError, match="was pinned when tiny-lm was first seen"):
        fetch(stranger, tmp_path / "model")
    wanted = TrustOptions(run.repository.root_digest)
    with pytest.raises(VerificationError, match="has no root"):
        pull(FolderSource(stranger.public), "tiny-lm", tmp_path / "model", PullOptions(wanted))
    assert contents(tmp_path / "model") == before
    assert TrustOptions().pinned("tiny-lm") == known == run.repository.offline.roots[0]


def test_who_names_another_root_begins_anew_from_it(tmp_path: Path) -> None:
    fetch(published(tmp_path / "run"), tmp_path / "model")
    again = PublishedRun(tmp_path / "again")
    again.release("0.1.9")
    root = TrustOptions.of(again.repository.root_digest)
    done = pull(FolderSource(again.public), "tiny-lm", tmp_path / "model", PullOptions(root))
    assert "from now on it is the one you named" in done.warnings[0]
    assert fetch(again, tmp_path / "model").warnings == ()
    (tmp_path / "root.json").write_bytes(again.repository.offline.roots[0])
    from_file = TrustOptions.of(str(tmp_path / "root.json"), home=tmp_path / "elsewhere")
    assert read_index(FolderSource(again.public), from_file).root_digest == again.repository.root_digest
    for wrong in (str(tmp_path / "none.json"), "b3:short"):
        with pytest.raises(UsageError, match="--trust"):
            TrustOptions.of(wrong)


def test_a_run_folder_vouches_for_itself(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    run.as_run_folder()
    pull(FolderSource(run.root), "tiny-lm", tmp_path / "model")
    assert not (tmp_path / "data").exists()
    mirrored = read_index(FolderSource(run.public))
    assert read_index(FolderSource(run.root)) == mirrored
    other = TrustOptions("b3:" + "0" * 64)
    with pytest.raises(VerificationError, match="has no root"):
        read_index(FolderSource(run.root), other)


def test_trust_can_be_kept_elsewhere(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    fetch(run, tmp_path / "model", trust=TrustOptions(home=tmp_path / "trust"))
    assert TrustOptions(home=tmp_path / "trust").pinned("tiny-lm") == run.repository.offline.roots[0]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("spec", ["other-lm", "other-lm@^0.1", "../tiny-lm", "^0.1", "tiny-lm@^0.9"])
def test_what_is_not_there(tmp_path: Path, spec: str) -> None:
    run = published(tmp_path / "run", releases=1)
    with pytest.raises(NoSuchVersionError):
        pull(FolderSource(run.public), spec, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_folders_that_are_no_target(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    (tmp_path / "file").write_text("x")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    for into in (tmp_path / "file", tmp_path / "thesis"):
        with pytest.raises(UsageError):
            fetch(run, into)
    assert contents(tmp_path / "thesis") == {"chapter.tex": b"years of work"}
    (tmp_path / "empty").mkdir()
    assert fetch(run, tmp_path / "empty").changed


def test_folders_that_are_no_source(tmp_path: Path) -> None:
    with pytest.raises(NotARunFolderError):
        open_source(str(tmp_path))
    (tmp_path / "run.toml").write_text("")
    with pytest.raises(NoSuchVersionError, match="without a release yet"):
        read_index(open_source(str(tmp_path)))
    with pytest.raises(UsageError):
        open_source("ftp://example.org")


def test_one_pull_at_a_time_into_a_folder(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)

    def watch(pulling: Pulling) -> AbstractContextManager[Progress]:
        with pytest.raises(FolderLockedError, match="is under way"):
            fetch(run, tmp_path / "model")
        assert fetch(run, tmp_path / "other").changed
        return nullcontext(lambda blob, count: None)

    assert fetch(run, tmp_path / "model", watch=watch).changed


def test_bad_mirrors_cost_warnings(tmp_path: Path) -> None:
    run, lying = published(tmp_path / "run"), published(tmp_path / "lying")
    for path in (lying.public / "blobs").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0" * path.stat().st_size)
    old = published(tmp_path / "old", releases=1)
    mirrors = (FolderSource(lying.public), FolderSource(old.public))
    done = fetch(run, tmp_path / "model", mirrors=mirrors)
    assert load(tmp_path / "model")[2].tobytes() == run.models["0.1.3"].tobytes()
    assert not [warning for warning in done.warnings if str(run.public) in warning.split(";")[0]]


def test_a_first_source_that_is_down_is_replaced_by_a_mirror(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    shutil.copytree(run.public, tmp_path / "mirror")
    source, mirror = FolderSource(run.public), FolderSource(tmp_path / "mirror")
    (run.public / "metadata" / "timestamp.json").write_bytes(b"{")
    done = pull(source, "tiny-lm", tmp_path / "model", PullOptions(mirrors=(mirror,)))
    assert done.changed
    assert done.warnings[0].endswith(f"{mirror.label} was asked instead")
    with pytest.raises(VerificationError, match="timestamp"):
        pull(source, "tiny-lm", tmp_path / "model", PullOptions(mirrors=(source,)))


def test_a_disk_that_is_too_small_is_found_out_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = published(tmp_path / "run")
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(pull_module.shutil, "disk_usage", lambda _: usage(10_000, 9_000, 1_000))
    with pytest.raises(DiskFullError, match="which has 1,000; nothing was changed"):
        fetch(run, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_disk_that_fills_up_half_way_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = published(tmp_path / "run", releases=1)
    fetch(run, tmp_path / "model")
    run.release("0.1.1")
    before = contents(tmp_path / "model")
    real = durable_module.write_all_at

    def write_all_at(descriptor: int, data: memoryview, at: int) -> None:
        real(descriptor, data[:100], at)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(model_files_module, "write_all_at", write_all_at)
        with pytest.raises(DiskFullError):
            fetch(run, tmp_path / "model")
    assert contents(tmp_path / "model") == before
    assert not list(tmp_path.glob(".model*"))
    assert fetch(run, tmp_path / "model").fetched_bytes == 0


def test_a_target_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = published(tmp_path / "run", releases=1)
    refused = OSError(errno.EROFS, "Read-only file system")
    with monkeypatch.context() as patched:
        patched.setattr(pull_module.os, "access", lambda *_: False)
        with pytest.raises(StorageError, match="choose another place with --into"):
            fetch(run, tmp_path / "model")

    def install(*_: object, **__: object) -> None:
        raise refused

    monkeypatch.setattr(pull_module, "install", install)
    with pytest.raises(StorageError, match=r"Read-only file system\. It holds what it held"):
        fetch(run, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../etc"},
        {"files": [{"name": "../../.bashrc", "blob": {"digest": "b3:" + "0" * 64, "size_bytes": 1}}]},
        {"files": [{"name": "/etc/passwd", "blob": {"digest": "b3:" + "0" * 64, "size_bytes": 1}}]},
        {"acceptance": {"digest": "../../etc/passwd", "size_bytes": 1}},
        {"tensors": [{"name": "../x", "dtype": "F32", "shape": [1], "digest": "b3:" + "0" * 64}]},
    ],
)
def test_a_manifest_with_a_name_like_a_path(tmp_path: Path, change: dict[str, Any]) -> None:
    run = published(tmp_path / "run", releases=1)
    entry = run.entries[0]
    body = {**json.loads(run.store.read(entry.manifest.digest)), **change}
    run.entries[0] = entry.model_copy(update={"manifest": store_blob(run.store, canonical_json(body))})
    run.write_index()
    with pytest.raises(VerificationError, match="is not acceptable"):
        fetch(run, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("atomic", [True, False])
def test_a_crash_while_installing_leaves_the_old_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    run = published(tmp_path / "run", releases=1)
    fetch(run, tmp_path / "model")
    run.release("0.1.1")
    old = contents(tmp_path / "model")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(installed_module, "exchange_folders", crash)
        with pytest.raises(KeyboardInterrupt):
            fetch(run, tmp_path / "model")
    assert contents(tmp_path / "model") == old
    if not atomic:
        monkeypatch.setattr(durable_module, "_rename_exchange", lambda *_: False)
    assert fetch(run, tmp_path / "model").version == "0.1.1"
    assert not list(tmp_path.glob(".model*"))


def test_every_refusal_is_ours(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    huge = BlobRef(digest=digest_bytes(b"x"), size_bytes=1 << 40)
    run.entries[0] = run.entries[0].model_copy(update={"manifest": huge})
    run.write_index()
    with pytest.raises(BarnraiseError, match="not one of ours"):
        fetch(run, tmp_path / "model")
