"""Verifying finds any changed byte, offline, and recomputes a release from its parent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barnraise.digest import digest_bytes
from barnraise.errors import BrokenChainError, VerificationError
from barnraise.releases.installed import Form, Installed
from barnraise.releases.layout import LINEAGE_FILE, NOTE_FILE
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import TrustOptions
from barnraise.releases.verify import KeyframeReport, verify_conversion, verify_folder, verify_patch, verify_release
from laws import examples, moments
from published import SPACE, PublishedRun, published

FORMS = [Form(), Form(shard_bytes=5000), Form("BF16", 3000), Form("F16")]


@pytest.fixture
def run(tmp_path: Path) -> PublishedRun:
    run = published(tmp_path / "run", releases=3)
    pull(FolderSource(run.public), "tiny-lm", tmp_path / "model")
    return run


def all_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_whole_folder(run: PublishedRun, tmp_path: Path) -> None:
    report = verify_folder(tmp_path / "model")
    assert (report.name, report.version) == ("tiny-lm", "0.1.2")
    assert report.model_digest == run.entries[2].model_digest
    assert (report.root_is_pinned, report.promoted, report.converted_to) == (True, False, None)
    told = "; ".join(report.checked)
    for said in ("1 root", "README.md, acceptance.json", "all 2 tensors", "no other file"):
        assert said in told


def test_nothing_but_the_folder_is_needed(run: PublishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nobody"))
    report = verify_folder(tmp_path / "elsewhere")
    assert not report.root_is_pinned
    assert "whose run this is" in "; ".join(report.unchecked)
    assert verify_folder(tmp_path / "elsewhere", TrustOptions(run.repository.root_digest)).root_is_pinned
    with pytest.raises(VerificationError, match="was named"):
        verify_folder(tmp_path / "elsewhere", TrustOptions("b3:" + "0" * 64))


@pytest.mark.parametrize("form", FORMS, ids=str)
@settings(deadline=None, max_examples=examples(40, 600), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_found(run: PublishedRun, tmp_path: Path, form: Form, data: st.DataObject) -> None:
    folder = tmp_path / f"model-{form.dtype}-{form.shard_bytes}"
    if not folder.exists():
        pull(FolderSource(run.public), "tiny-lm", folder, PullOptions(form=form))
        verify_folder(folder)
    path = data.draw(st.sampled_from(all_files(folder)))
    content = path.read_bytes()
    at, flip = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
    path.write_bytes(content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :])
    try:
        with pytest.raises(VerificationError):
            verify_folder(folder)
    finally:
        path.write_bytes(content)
    verify_folder(folder)


def test_every_byte_of_the_small_files_counts(run: PublishedRun, tmp_path: Path) -> None:
    """One after the other, in the files that say how everything else is read."""
    folder = tmp_path / "model"
    for name in (NOTE_FILE, "config.json", LINEAGE_FILE):
        content = (folder / name).read_bytes()
        for at in moments(range(len(content)), 60):
            (folder / name).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            with pytest.raises(VerificationError):
                Installed.open(folder)
        (folder / name).write_bytes(content)
    verify_folder(folder)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_missing_longer_or_empty_file(run: PublishedRun, tmp_path: Path, form: Form) -> None:
    folder = tmp_path / "other"
    pull(FolderSource(run.public), "tiny-lm", folder, PullOptions(form=form))
    for path in all_files(folder):
        content = path.read_bytes()
        for wrong in (b"", content[:-1], content + b"\n", content + b"\0"):
            path.write_bytes(wrong)
            with pytest.raises(VerificationError):
                verify_folder(folder)
        path.unlink()
        with pytest.raises(VerificationError, match=f"no .*{path.name}"):
            verify_folder(folder)
        path.write_bytes(content)
    verify_folder(folder)


@pytest.mark.parametrize(
    "name", ["evil.py", "model-00001-of-00002.safetensors", "provenance/extra.json", ".hidden", "a/b"]
)
def test_an_extra_file_is_found(run: PublishedRun, tmp_path: Path, name: str) -> None:
    path = tmp_path / "model" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(VerificationError, match="which no release brings"):
        verify_folder(tmp_path / "model")


def test_an_extra_folder_or_one_in_place_of_a_file(run: PublishedRun, tmp_path: Path) -> None:
    (tmp_path / "model" / "empty").mkdir()
    with pytest.raises(VerificationError, match="which no release brings"):
        verify_folder(tmp_path / "model")
    (tmp_path / "model" / "empty").rmdir()
    (tmp_path / "model" / "vocab.txt").unlink()
    (tmp_path / "model" / "vocab.txt").mkdir()
    with pytest.raises(VerificationError, match=r"no vocab\.txt"):
        verify_folder(tmp_path / "model")


def test_files_of_another_release_do_not_prove_this_one(run: PublishedRun, tmp_path: Path) -> None:
    """Each file is genuine; together they are no release."""
    pull(FolderSource(run.public), "tiny-lm@0.1.1", tmp_path / "older")
    for path in all_files(tmp_path / "older"):
        ours = tmp_path / "model" / path.relative_to(tmp_path / "older")
        content = ours.read_bytes()
        if content != path.read_bytes():
            ours.write_bytes(path.read_bytes())
            with pytest.raises(VerificationError):
                verify_folder(tmp_path / "model")
            ours.write_bytes(content)


def test_whoever_signs_a_release_of_his_own_is_not_the_run(run: PublishedRun, tmp_path: Path) -> None:
    other = PublishedRun(tmp_path / "other-run")
    other.release("0.1.2")
    pull(
        FolderSource(other.public),
        "tiny-lm",
        tmp_path / "forged",
        PullOptions(TrustOptions(home=tmp_path / "other-trust")),
    )
    assert not verify_folder(tmp_path / "forged", TrustOptions(home=tmp_path / "no-trust")).root_is_pinned
    with pytest.raises(VerificationError, match="is pinned for tiny-lm"):
        verify_folder(tmp_path / "forged")


def test_a_converted_folder_says_what_is_not_proven(run: PublishedRun, tmp_path: Path) -> None:
    source = FolderSource(run.public)
    pull(source, "tiny-lm", tmp_path / "half", PullOptions(form=Form("BF16")))
    report = verify_folder(tmp_path / "half")
    assert report.converted_to == "BF16"
    assert "converted tensors are signed by nobody" in report.unchecked[-1]
    assert verify_conversion(source, tmp_path / "half") == 2
    note = Installed.open(tmp_path / "half").note
    path = tmp_path / "half" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    name = "embedding"
    digest = digest_bytes(bytes(content[-SPACE.tensors[-1].size * 2 :]))
    forged = note.model_copy(update={"converted": {**note.converted, name: digest}})
    (tmp_path / "half" / NOTE_FILE).write_bytes(forged.canonical())
    verify_folder(tmp_path / "half")  # whoever can write the folder can note anything; nobody claims otherwise
    with pytest.raises(VerificationError, match="tensor embedding is not what"):
        verify_conversion(source, tmp_path / "half")


def test_a_release_equals_parent_plus_patch(run: PublishedRun) -> None:
    report = verify_patch(FolderSource(run.public), "0.1.2")
    assert (report.version, report.parent) == ("0.1.2", "0.1.1")
    patch = run.entries[2].patch
    assert patch is not None
    assert report.patch_bytes == patch.size_bytes
    with pytest.raises(VerificationError, match=r"has another 0\.1\.2 than the folder"):
        verify_patch(FolderSource(run.public), "0.1.2", manifest_digest=run.entries[1].manifest.digest)
    with pytest.raises(BrokenChainError, match="not released as a patch"):
        verify_patch(FolderSource(run.public), "0.1.0")


def test_a_release_that_is_stored_whole_is_its_keyframe(run: PublishedRun) -> None:
    source, entry = FolderSource(run.public), run.entries[0]
    report = verify_release(source, "0.1.0", manifest_digest=entry.manifest.digest)
    assert isinstance(report, KeyframeReport)
    assert entry.keyframe is not None
    assert (report.model_digest, report.keyframe_bytes) == (entry.model_digest, entry.keyframe.size_bytes)
    with pytest.raises(VerificationError, match=r"has another 0\.1\.0 than the folder"):
        verify_release(source, "0.1.0", manifest_digest=run.entries[1].manifest.digest)
    path = run.store.path(entry.keyframe.digest)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(VerificationError):
        verify_release(source, "0.1.0")


def test_a_keyframe_beside_a_patch_is_compared_too(run: PublishedRun) -> None:
    entry = run.release("0.1.3", keyframe=True)
    assert verify_patch(FolderSource(run.public), "0.1.3").model_digest == entry.model_digest
    assert entry.keyframe is not None
    run.store.path(entry.keyframe.digest).write_bytes(b"\0" * entry.keyframe.size_bytes)
    with pytest.raises(VerificationError):
        verify_patch(FolderSource(run.public), "0.1.3")
