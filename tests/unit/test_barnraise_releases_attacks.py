"""The attacks that release metadata is there for, each against the real client.

Mallory owns the mirror that is asked, and for forged targets and fast-forward the online key
too. What is looked at is what a consumer has in the end: the old release, whole, or the right
one; and what is said. Time is never waited for: what shall have expired is signed so.

Source: https://theupdateframework.io/docs/security/ (attacks and weaknesses)
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tuf.api.metadata import TargetFile

from barnraise.clock import now_ms
from barnraise.digest import digest_bytes
from barnraise.errors import (
    ExpiredMetadataError,
    NoSuchVersionError,
    NotEnoughSignaturesError,
    OlderMetadataError,
    VerificationError,
)
from barnraise.identity import Identity
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.pull import pull
from barnraise.releases.roles import LIFETIMES, STABLE, STABLE_TARGET, delegated_list
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import LIMITS, TrustOptions, read_index
from barnraise.run_folder import RunFolder
from maintained import ADA, CAROL, hand_over, promote, rotate_online, signed, stable_list
from mallory import PIECE, Mallory, endless
from published import PublishedRun, published

DAY_MS = 86_400_000
FAR = 2**31 - 1


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def run(tmp_path: Path) -> PublishedRun:
    """0.1.0 and 0.1.1 with maintainers, who promoted 0.1.0."""
    run = published(tmp_path / "run", releases=2)
    hand_over(run)
    promote(run, "0.1.0")
    return run


@pytest.fixture
def honest(run: PublishedRun) -> FolderSource:
    return FolderSource(run.public)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def model(honest: FolderSource, tmp_path: Path) -> Iterator[Path]:
    """A folder with 0.1.1, pulled before the attack. Whatever comes, it is whole afterwards."""
    folder = tmp_path / "model"
    pull(honest, "tiny-lm@nightly", folder)
    yield folder
    again = tmp_path / "again"
    pull(honest, "tiny-lm@0.1.1", again)
    assert contents(folder)["model.safetensors"] == contents(again)["model.safetensors"]


def stolen_key(run: PublishedRun) -> Identity:
    return Identity.load_or_create(RunFolder(run.root).online_key)


def forget(tmp_path: Path) -> None:
    """The consumer's memory is gone: from now on it is somebody who sees the run for the first time."""
    shutil.rmtree(tmp_path / "data", ignore_errors=True)


# -- rollback -----------------------------------------------------------------------------


def test_rollback_an_older_state_is_refused(
    run: PublishedRun, honest: FolderSource, model: Path, tmp_path: Path
) -> None:
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    run.release("0.1.2")
    read_index(honest)
    before = contents(model)
    with pytest.raises(OlderMetadataError, match=r"is behind what was seen before.* use another one"):
        pull(mallory.source, "tiny-lm@nightly", model)
    assert contents(model) == before
    assert read_index(honest).index == run.index()


def test_rollback_of_one_file_is_refused(run: PublishedRun, honest: FolderSource, tmp_path: Path) -> None:
    old = Mallory.mirrors(run, tmp_path / "old")
    run.release("0.1.2")
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    mallory.lies["metadata/timestamp.json"] = old.reads("metadata/timestamp.json")
    assert read_index(mallory.source).index != run.index(), "who never saw the newer one cannot know"
    read_index(honest)
    with pytest.raises(OlderMetadataError):
        read_index(mallory.source)


# -- freeze -------------------------------------------------------------------------------


def test_freeze_what_nobody_renewed_is_refused(tmp_path: Path) -> None:
    frozen = published(tmp_path / "frozen", releases=1)
    shutil.rmtree(frozen.public / "metadata")
    frozen.repository.publish(frozen.index(), now_ms() - 2 * DAY_MS)
    mallory = Mallory.mirrors(frozen, tmp_path / "mallory")
    with pytest.raises(ExpiredMetadataError, match=r"ended to hold on 20\d\d-.* UTC .*Nobody renewed it"):
        pull(mallory.source, "tiny-lm@nightly", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    frozen.repository.renew(now_ms())
    assert pull(FolderSource(frozen.public), "tiny-lm", tmp_path / "new").version == "0.1.0"


@pytest.mark.parametrize("role", sorted(LIFETIMES))
def test_freeze_of_any_role_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(LIFETIMES, role, timedelta(seconds=-1))
        run = published(tmp_path / "frozen", releases=1)
        hand_over(run)
        promote(run, "0.1.0")
    with pytest.raises(ExpiredMetadataError, match="ended to hold on"):
        read_index(FolderSource(run.public))


# -- mix and match ------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["snapshot", "targets", "nightly", "stable", "index", "stable list"])
def test_mix_and_match_files_of_two_states_are_refused(
    run: PublishedRun, model: Path, tmp_path: Path, what: str
) -> None:
    old = Mallory.mirrors(run, tmp_path / "old")
    run.release("0.1.2")
    promote(run, "0.1.0", "0.1.2")
    rotate_online(run)
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    path = {"index": "nightly", "stable list": "stable"}.get(what, what)
    place = Mallory.list_of if path != what else Mallory.newest
    mallory.lies[place(mallory, path)] = old.reads(place(old, path))
    before = contents(model)
    for spec in ("tiny-lm@nightly", "tiny-lm@stable", "tiny-lm@^0.1"):
        with pytest.raises(VerificationError):
            pull(mallory.source, spec, model)
    assert contents(model) == before
    forget(tmp_path)
    with pytest.raises(VerificationError):
        read_index(mallory.source)


# -- fast-forward -------------------------------------------------------------------------


def test_fast_forward_stops_a_client_until_the_online_key_is_replaced(
    run: PublishedRun, honest: FolderSource, model: Path, tmp_path: Path
) -> None:
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    mallory.forges(stolen_key(run), run.index(), FAR)
    assert read_index(mallory.source).index == run.index()
    run.release("0.1.2")
    with pytest.raises(OlderMetadataError):
        pull(honest, "tiny-lm@nightly", model)
    rotate_online(run)
    done = pull(honest, "tiny-lm@nightly", tmp_path / "new")
    assert (done.version, done.warnings) == ("0.1.2", ())
    with pytest.raises(NotEnoughSignaturesError):
        read_index(_with_roots_of(run, mallory).source)


def _with_roots_of(run: PublishedRun, mallory: Mallory) -> Mallory:
    """She has to hand over the newer root to those who know it; her metadata is then signed by nobody."""
    for path in (run.public / "metadata").glob("*.root.json"):
        shutil.copy(path, mallory.public / "metadata" / path.name)
    return mallory


# -- endless data -------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["1.root", "2.root", "timestamp", "snapshot", "targets", "nightly", "stable", "index"])
def test_endless_metadata_ends_early(run: PublishedRun, tmp_path: Path, role: str) -> None:
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    if role.endswith("root"):
        path, kind = f"metadata/{role}.json", "root"
    elif role == "index":
        path, kind = mallory.list_of("nightly"), "list"
    else:
        path, kind = mallory.newest(role), role
    mallory.lies[path] = endless
    with pytest.raises(VerificationError, match="that is not one of ours"):
        read_index(mallory.source)
    assert 0 < mallory.sent[path] <= 2 * (LIMITS.get(kind, LIMITS["targets"]) + PIECE)  # a second try at most
    assert not (tmp_path / "data" / "barnraise" / "trust" / "tiny-lm").exists()


@pytest.mark.parametrize("which", ["manifest", "keyframe", "patch"])
def test_an_endless_blob_ends_at_the_size_that_was_signed(
    run: PublishedRun, model: Path, tmp_path: Path, which: str
) -> None:
    run.release("0.1.2")
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    ref = getattr(run.entries[0 if which == "keyframe" else 2], which)
    path = f"blobs/{ref.digest[3:5]}/{ref.digest[5:]}"
    mallory.lies[path] = endless
    before, into = contents(model), tmp_path / "new" if which == "keyframe" else model
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    with pytest.raises(VerificationError):
        pull(mallory.source, "tiny-lm@nightly", into)
    assert contents(model) == before
    assert not (tmp_path / "new").exists()
    assert 0 < mallory.sent[path] <= 4 * (ref.size_bytes + PIECE)  # some tries, each no longer than the blob


# -- tampered bytes -----------------------------------------------------------------------


@pytest.mark.parametrize("at", [0.0, 0.5, 0.99])
def test_tampered_bytes_of_any_file_never_install(run: PublishedRun, tmp_path: Path, at: float) -> None:
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    right = tmp_path / "right"
    pull(mallory.source, "tiny-lm@nightly", right)
    needed, refused = sorted(mallory.sent), 0
    for number, name in enumerate(needed):
        data = bytearray(mallory.reads(name))
        data[int(at * len(data))] ^= 1
        mallory.lies = {name: bytes(data)}
        forget(tmp_path)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        into = tmp_path / f"tampered-{number}"
        try:
            pull(mallory.source, "tiny-lm@nightly", into)
        except VerificationError:
            assert not into.exists()
            refused += 1
        else:  # a signature more than was needed, or the run's first root, which nobody has pinned yet
            assert ".root.json" in name, name
            assert contents(into)["model.safetensors"] == contents(right)["model.safetensors"]
    assert refused >= len(needed) - 2


# -- forged targets -----------------------------------------------------------------------


def forged(run: PublishedRun, version: str, channels: dict[str, str] | None = None) -> ReleaseIndex:
    """An index with a release that Mallory made, under a new number or in the place of an old one."""
    evil = PublishedRun(run.root.parent / f"evil-{version}", entries=list(run.entries[:1]), models=dict(run.models))
    shutil.copytree(run.public / "blobs", evil.public / "blobs", dirs_exist_ok=True)
    evil.models = {entry.version: run.models[entry.version] + np.float32(1) for entry in run.entries[:1]}
    made: IndexEntry = evil.release(version if version not in run.models else "0.9.9", keyframe=True)
    entries = [entry for entry in run.entries if entry.version != version]
    entries.append(made.model_copy(update={"version": version}))
    shutil.copytree(evil.public / "blobs", run.root.parent / "mallory" / "blobs", dirs_exist_ok=True)
    return run.index().model_copy(
        update={"releases": tuple(entries), "channels": {**run.channels, **(channels or {"nightly": version})}}
    )


@pytest.mark.parametrize("known", [True, False])
def test_forged_targets_reach_nobody_on_stable_or_a_range(
    run: PublishedRun, honest: FolderSource, tmp_path: Path, known: bool
) -> None:
    if known:
        read_index(honest)
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    mallory.forges(stolen_key(run), forged(run, "0.1.99"), FAR)
    for number, spec in enumerate(("tiny-lm@stable", "tiny-lm@^0.1", "tiny-lm", "tiny-lm@>=0.1")):
        assert pull(mallory.source, spec, tmp_path / f"model-{number}").version == "0.1.0"
    done = pull(mallory.source, "tiny-lm@nightly", tmp_path / "nightly")
    assert done.version == "0.1.99", "nightly is what the online key says: that is what a thief of it gets"
    rotate_online(run)
    assert pull(honest, "tiny-lm@nightly", tmp_path / "nightly").version == "0.1.1"


@pytest.mark.parametrize("known", [True, False])
def test_forged_promises_are_refused_outright(
    run: PublishedRun, honest: FolderSource, tmp_path: Path, known: bool
) -> None:
    if known:
        read_index(honest)
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    for number, (index, message) in enumerate(
        (
            (forged(run, "0.1.98", {"stable": "0.1.98"}), "which no maintainer promoted"),
            (run.index().model_copy(update={"channels": {"stable": "0.1.1"}}), "which no maintainer promoted"),
            (forged(run, "0.1.0"), "maintainers promoted"),
        )
    ):
        mallory.forges(stolen_key(run), index, FAR - 9 + number)
        with pytest.raises(VerificationError, match=message):
            pull(mallory.source, "tiny-lm@stable", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_thief_of_the_online_key_cannot_sign_promotions(run: PublishedRun, tmp_path: Path) -> None:
    mallory, key = Mallory.mirrors(run, tmp_path / "mallory"), stolen_key(run)
    index = forged(run, "0.1.99")
    run.entries.append(index.entry("0.1.99"))
    content = stable_list(run, "0.1.0", "0.1.99").canonical()
    run.entries.pop()
    metadata = delegated_list(STABLE, STABLE_TARGET, content, 2, now_ms())
    (mallory.public / f"targets/{_sha256(content)}.stable.json").write_bytes(content)
    targets = mallory.reads(mallory.newest("targets"))
    for number, stable in enumerate((signed(metadata, key), signed(metadata, key, ADA))):
        mallory.forges(key, index, FAR - 9 + number, {"targets.json": targets, "stable.json": stable})
        with pytest.raises(NotEnoughSignaturesError):
            read_index(mallory.source)
    mallory.forges(key, index, FAR, {"targets.json": targets, "stable.json": signed(metadata, ADA, CAROL)})
    assert read_index(mallory.source).promoted == ("0.1.0", "0.1.99"), "this test does not look at the signatures"


def test_a_thief_of_the_online_key_cannot_hide_promotions(
    run: PublishedRun, honest: FolderSource, tmp_path: Path
) -> None:
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    index = forged(run, "0.1.99").model_copy(update={"channels": {"nightly": "0.1.99"}})
    targets = mallory.reads(mallory.newest("targets"))
    mallory.forges(stolen_key(run), index, FAR, {"targets.json": targets})
    with pytest.raises(NoSuchVersionError, match="was not promoted"):  # who never saw the list is given nothing
        pull(mallory.source, "tiny-lm@^0.1", tmp_path / "model")
    forget(tmp_path)
    read_index(honest)
    with pytest.raises(VerificationError, match="missing info"):
        pull(mallory.source, "tiny-lm@^0.1", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_before_there_are_maintainers_a_stolen_online_key_is_a_stolen_run(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    mallory.forges(stolen_key(run), forged(run, "0.1.99"), FAR)
    assert pull(mallory.source, "tiny-lm@^0.1", tmp_path / "model").version == "0.1.99"


# -- keys ---------------------------------------------------------------------------------


def test_a_forged_root_is_refused(run: PublishedRun, honest: FolderSource, tmp_path: Path) -> None:
    stranger = published(tmp_path / "stranger", releases=2, stranger=True)
    hand_over(stranger)
    mallory = Mallory.mirrors(run, tmp_path / "mallory")
    mallory.lies["metadata/2.root.json"] = (stranger.public / "metadata" / "2.root.json").read_bytes()
    with pytest.raises(NotEnoughSignaturesError):
        read_index(mallory.source)
    with pytest.raises(VerificationError, match="has no root"):
        read_index(FolderSource(stranger.public), TrustOptions(run.repository.root_digest))
    newest = run.repository.offline.roots[-1]
    for root in (digest_bytes(newest), newest):
        home = tmp_path / f"home-{isinstance(root, bytes)}"
        assert read_index(honest, TrustOptions(root, home)).root_digest == digest_bytes(newest)
    withheld = replace(mallory, lies={})
    (withheld.public / "metadata" / "2.root.json").unlink()
    with pytest.raises(NotEnoughSignaturesError):
        read_index(withheld.source)
    assert read_index(withheld.source, TrustOptions(newest, tmp_path / "home")).promoted == ("0.1.0",)


def _sha256(data: bytes) -> str:
    return str(TargetFile.from_data("x", data, ["sha256"]).hashes["sha256"])
