"""A mirror is one whole state of the run at every moment, and only what was verified comes in."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from barnraise.digest import digest_bytes
from barnraise.errors import BarnraiseError, BlobMissingError, FolderLockedError, UsageError, VerificationError
from barnraise.message import BlobRef
from barnraise.releases import mirror as mirror_module
from barnraise.releases import store as store_module
from barnraise.releases.load import load
from barnraise.releases.manifest import MergedUpdate, read_manifest
from barnraise.releases.mirror import Mirrored, MirrorOptions, mirror
from barnraise.releases.pull import pull
from barnraise.releases.references import blob_refs
from barnraise.releases.source import FolderSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import TrustOptions, read_index
from maintained import hand_over, promote, rotate_online
from published import PublishedRun, published


def in_step(run: PublishedRun, folder: Path, **options: Any) -> Mirrored:
    return mirror(FolderSource(run.public), folder, MirrorOptions(**options))


def published_files(folder: Path) -> dict[str, bytes]:
    """What a static server would hand out and a client would ask for."""
    kinds = ("blobs", "targets", "metadata")
    files = [path for kind in kinds for path in (folder / kind).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def require_copy(mirrored: Path, public: Path) -> None:
    """The mirror has all blobs and lists, and the newest metadata; a run also keeps some that are older."""
    copy, original = published_files(mirrored), published_files(public)
    assert {name: original[name] for name in copy} == copy
    assert copy["metadata/timestamp.json"] == original["metadata/timestamp.json"]
    assert {name for name in original if name.startswith("blobs/")} <= set(copy)


def test_a_mirror_has_what_the_run_has(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    done = in_step(run, tmp_path / "mirror")
    assert (done.name, done.version, done.releases, done.changed) == ("tiny-lm", "0.1.3", 4, True)
    assert done.fetched_blobs == done.blobs
    require_copy(tmp_path / "mirror", run.public)
    again = in_step(run, tmp_path / "mirror")
    assert (again.changed, again.fetched_bytes, again.fetched_blobs) == (False, 0, 0)


def test_only_what_is_new_is_fetched(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    in_step(run, tmp_path / "mirror")
    before = set(published_files(run.public))
    run.release("0.1.2")
    done = in_step(run, tmp_path / "mirror")
    new = {name for name in set(published_files(run.public)) - before if name.startswith("blobs/")}
    assert done.fetched_blobs == len(new)
    assert done.fetched_bytes == sum((run.public / name).stat().st_size for name in new)


def test_who_pulls_from_the_mirror_gets_the_release(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    in_step(run, tmp_path / "mirror")
    pull(FolderSource(tmp_path / "mirror"), "tiny-lm", tmp_path / "model")
    assert load(tmp_path / "model")[2].tobytes() == run.models["0.1.3"].tobytes()
    in_step(PublishedRun(run.root, entries=run.entries), tmp_path / "second")


def test_a_run_folder_can_be_mirrored_and_a_mirror_too(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    mirror(FolderSource(run.as_run_folder()), tmp_path / "one")
    mirror(FolderSource(tmp_path / "one"), tmp_path / "two")
    require_copy(tmp_path / "two", run.public)


class Struck(BaseException):
    """The power fails."""


def strike_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> list[int]:
    """Let the power fail at the n-th time that anything appears in a folder; returns how often that was."""
    count = [0]

    def struck(real: Callable[..., Any]) -> Callable[..., Any]:
        def appear(*args: Any, **settings: Any) -> Any:
            count[0] += 1
            if count[0] == moment:
                raise Struck
            return real(*args, **settings)

        return appear

    monkeypatch.setattr(mirror_module, "replace_file", struck(mirror_module.replace_file))
    monkeypatch.setattr(mirror_module, "exchange_folders", struck(mirror_module.exchange_folders))
    monkeypatch.setattr(store_module.BlobStore, "adopt", struck(store_module.BlobStore.adopt))
    unlink, struck_unlink = Path.unlink, struck(Path.unlink)

    def remove(path: Path, **settings: Any) -> None:
        (struck_unlink if {"blobs", "targets", "metadata"} & set(path.parts) else unlink)(path, **settings)

    monkeypatch.setattr(Path, "unlink", remove)
    return count


def readable_version(folder: Path) -> str:
    """The newest release that somebody finds who reads the mirror now; all of every listed release is there."""
    with tempfile.TemporaryDirectory() as home:
        index = read_index(FolderSource(folder), TrustOptions(home=Path(home))).index
    store = BlobStore(folder)
    for entry in index.releases:
        manifest = read_manifest(store.read(entry.manifest.digest), "the manifest")
        for _, ref in (*blob_refs(entry), *blob_refs(manifest)):
            assert digest_bytes(store.read(ref.digest)) == ref.digest
    return index.releases[-1].version


def at_every_moment(tmp_path: Path, run: PublishedRun, **options: Any) -> list[str]:
    """Copy ``before`` and bring it in step, with the power failing later and later; returns what readers find."""
    seen = []
    for moment in itertools.count(1):
        folder, struck = tmp_path / f"mirror-{moment}", False
        shutil.copytree(tmp_path / "before", folder)
        with pytest.MonkeyPatch.context() as patched:
            strike_at(patched, moment)
            try:
                in_step(run, folder, **options)
            except Struck:
                struck = True
        seen.append(readable_version(folder))
        in_step(run, folder)
        assert readable_version(folder) == run.entries[-1].version
        shutil.rmtree(folder)
        if not struck:
            return seen
    raise AssertionError("unreachable")


def test_at_every_moment_there_is_one_whole_state(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    in_step(run, tmp_path / "before")
    run.release("0.1.1", keyframe=True)
    seen = at_every_moment(tmp_path, run)
    assert seen == sorted(seen)
    assert set(seen) == {"0.1.0", "0.1.1"}
    assert len(seen) > 10


def test_also_while_pruning(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    in_step(run, tmp_path / "before")
    run.entries, run.channels = run.entries[:1], {"nightly": "0.1.0"}  # begun anew from its first release
    run.write_index()
    in_step(run, tmp_path / "before")
    seen = at_every_moment(tmp_path, run, prune=True)
    assert set(seen) == {"0.1.0"}
    assert len(seen) > 5


def test_also_when_the_online_key_is_rotated(tmp_path: Path) -> None:
    """A new root is believed before any timestamp is read, so both must appear at once."""
    run = published(tmp_path / "run", releases=1)
    hand_over(run)
    promote(run, "0.1.0")
    in_step(run, tmp_path / "before")
    rotate_online(run)
    run.release("0.1.1")
    seen = at_every_moment(tmp_path, run)
    assert seen == sorted(seen)
    assert set(seen) == {"0.1.0", "0.1.1"}


def test_only_verified_bytes_come_in(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    in_step(run, tmp_path / "mirror")
    before = published_files(tmp_path / "mirror")
    entry = run.release("0.1.2")
    assert entry.patch is not None
    path = run.store.path(entry.patch.digest)
    data = path.read_bytes()
    for bad in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1], b""):
        path.write_bytes(bad)
        with pytest.raises(VerificationError):
            in_step(run, tmp_path / "mirror")
        left = published_files(tmp_path / "mirror")
        assert {name: left[name] for name in before} == before
        assert readable_version(tmp_path / "mirror") == "0.1.1"
    path.unlink()
    with pytest.raises(BlobMissingError):
        in_step(run, tmp_path / "mirror")
    path.write_bytes(data)
    assert in_step(run, tmp_path / "mirror").version == "0.1.2"


def test_a_damaged_blob_is_mended_by_a_check(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    in_step(run, tmp_path / "mirror")
    whole = published_files(tmp_path / "mirror")
    entry = run.entries[1]
    assert entry.patch is not None
    (tmp_path / "mirror" / f"blobs/{entry.patch.digest[3:5]}/{entry.patch.digest[5:]}").write_bytes(b"rotten")
    assert not in_step(run, tmp_path / "mirror").changed
    assert in_step(run, tmp_path / "mirror", check=True).fetched_blobs == 1
    assert published_files(tmp_path / "mirror") == whole


def test_pruning_keeps_this_state_and_the_last(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    in_step(run, tmp_path / "mirror")
    old, manifest = published_files(tmp_path / "mirror"), run.entries[1].manifest.digest
    run.entries, run.channels = run.entries[:1], {"nightly": "0.1.0"}  # begun anew from its first release
    run.write_index()
    assert in_step(run, tmp_path / "mirror").removed == 0
    assert set(old) <= set(published_files(tmp_path / "mirror"))
    run.release("0.1.9")
    assert in_step(run, tmp_path / "mirror", prune=True).removed > 0
    in_step(run, tmp_path / "mirror", prune=True)
    assert f"blobs/{manifest[3:5]}/{manifest[5:]}" not in published_files(tmp_path / "mirror")
    assert readable_version(tmp_path / "mirror") == "0.1.9"
    assert in_step(run, tmp_path / "mirror", prune=True).removed == 0


def test_merged_updates_come_along_when_they_are_asked_for(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    data = b"an update"
    digest = run.store.put(data)
    merged = MergedUpdate(digest=digest, contributor="2" * 64, size_bytes=len(data), weight=1.0)
    run.release("0.1.1")
    manifest = read_manifest(run.store.read(run.entries[1].manifest.digest), "the manifest")
    changed = manifest.model_copy(update={"updates": (merged,)}).canonical()
    ref = BlobRef(digest=run.store.put(changed), size_bytes=len(changed))
    run.entries[1] = run.entries[1].model_copy(update={"manifest": ref})
    run.write_index()
    in_step(run, tmp_path / "mirror")
    assert f"blobs/{digest[3:5]}/{digest[5:]}" not in published_files(tmp_path / "mirror")
    in_step(run, tmp_path / "mirror", updates=True)
    assert published_files(tmp_path / "mirror")[f"blobs/{digest[3:5]}/{digest[5:]}"] == data


def test_places_that_are_no_mirror(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "thesis", tmp_path / "file"):
        with pytest.raises(UsageError, match="holds other things"):
            in_step(run, folder)
    (tmp_path / "empty").mkdir()
    assert in_step(run, tmp_path / "empty").changed


def test_one_at_a_time(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    seen: list[BarnraiseError] = []

    def progress(blob: BlobRef, count: int) -> None:
        try:
            in_step(run, tmp_path / "mirror")
        except FolderLockedError as error:
            seen.append(error)

    mirror(FolderSource(run.public), tmp_path / "mirror", progress=progress)
    assert seen


def test_a_mirror_remembers_whom_it_trusts(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    with pytest.raises(VerificationError, match="has no root"):
        in_step(run, tmp_path / "mirror", trust=TrustOptions("b3:" + "0" * 64))
    in_step(run, tmp_path / "mirror", trust=TrustOptions(run.repository.root_digest))
    before = published_files(tmp_path / "mirror")
    stranger = PublishedRun(tmp_path / "stranger")
    stranger.release("0.1.9")
    with pytest.raises(VerificationError):
        in_step(stranger, tmp_path / "mirror")
    assert published_files(tmp_path / "mirror") == before


def test_every_blob_that_a_manifest_names_is_found(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    manifest = read_manifest(run.store.read(run.entries[1].manifest.digest), "the manifest")
    names = [name for name, _ in blob_refs(manifest)]
    assert {"patch", "acceptance", "config", "card", "lineage", "files.0.blob"} <= set(names)
    text = manifest.canonical().decode()
    assert len(names) == text.count('"size_bytes":') - len(manifest.updates)
