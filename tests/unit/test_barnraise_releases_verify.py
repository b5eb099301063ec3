"""Verifying finds any changed byte, offline, and recomputes a release from its parent."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnraise.errors import BrokenChainError, VerificationError
from barnraise.releases.installed import FILES, RELEASE_FILE
from barnraise.releases.pull import pull
from barnraise.releases.source import FolderSource
from barnraise.releases.verify import verify_folder, verify_patch
from published import PublishedRun, published


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def run(tmp_path: Path) -> PublishedRun:
    run = published(tmp_path / "run", releases=3)
    pull(FolderSource(run.public), "tiny-lm", tmp_path / "model")
    return run


def test_a_whole_folder(run: PublishedRun, tmp_path: Path) -> None:
    report = verify_folder(tmp_path / "model")
    assert (report.name, report.version) == ("tiny-lm", "0.1.2")
    assert report.model_digest == run.entries[2].model_digest


@pytest.mark.parametrize("name", sorted(FILES - {RELEASE_FILE}))
@pytest.mark.parametrize("at", [0.0, 0.3, 0.6, 0.999])
def test_any_changed_byte_is_found(run: PublishedRun, tmp_path: Path, name: str, at: float) -> None:
    path = tmp_path / "model" / name
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError):
        verify_folder(tmp_path / "model")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_or_empty_file(run: PublishedRun, tmp_path: Path, name: str) -> None:
    (tmp_path / "model" / name).write_bytes(b"")
    with pytest.raises(VerificationError):
        verify_folder(tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    with pytest.raises(VerificationError, match=f"no {name}"):
        verify_folder(tmp_path / "model")


def test_a_release_equals_parent_plus_patch(run: PublishedRun) -> None:
    report = verify_patch(FolderSource(run.public), "0.1.2")
    assert (report.version, report.parent) == ("0.1.2", "0.1.1")
    patch = run.entries[2].patch
    assert patch is not None
    assert report.patch_bytes == patch.size_bytes
    with pytest.raises(BrokenChainError, match="not released as a patch"):
        verify_patch(FolderSource(run.public), "0.1.0")


def test_a_keyframe_beside_a_patch_is_compared_too(run: PublishedRun) -> None:
    entry = run.release("0.1.3", keyframe=True)
    assert verify_patch(FolderSource(run.public), "0.1.3").model_digest == entry.model_digest
    assert entry.keyframe is not None
    run.store.path(entry.keyframe.digest).write_bytes(b"\0" * entry.keyframe.size_bytes)
    with pytest.raises(VerificationError):
        verify_patch(FolderSource(run.public), "0.1.3")
