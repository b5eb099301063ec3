"""What lands in a folder: in any form, whole or not at all, and nothing but a release is ever replaced."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch

from barnraise.errors import DiskFullError, UnknownFieldError, UsageError, VerificationError
from barnraise.message import BlobRef
from barnraise.releases import installed as installed_module
from barnraise.releases import model_files
from barnraise.releases.convert import Stored
from barnraise.releases.installed import Content, Form, Installed, check_target, install, of_flat
from barnraise.releases.layout import PROVENANCE, side_files, stored_specs
from barnraise.releases.lineage import read_lineage
from barnraise.releases.manifest import Manifest, ReleaseFile
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.source import FolderSource
from published import SIDE_FILES, SPACE, PublishedRun, published


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedRun:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return published(tmp_path / "run", releases=2)


@pytest.fixture
def content(run: PublishedRun, tmp_path: Path) -> Content:
    pull(FolderSource(run.public), "tiny-lm", tmp_path / "model")
    there = Installed.read(tmp_path / "model")
    side = {name: there.side(name) or b"" for name in side_files(there.manifest)}
    return Content(there.manifest, there.release, of_flat(there.space, there.flat()), side, there.provenance)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_that_the_manifest_names_is_there(run: PublishedRun, content: Content, tmp_path: Path) -> None:
    folder, manifest = tmp_path / "model", content.manifest
    for name, data in SIDE_FILES.items():
        assert (folder / name).read_bytes() == data
    assert (folder / "README.md").read_bytes() == run.store.read(manifest.card.digest)
    assert read_lineage((folder / "lineage.json").read_bytes(), "it").parents[0].version == "0.1.0"
    assert "loss-text" in json.loads((folder / "acceptance.json").read_text())["tests"]
    assert json.loads((folder / "run.json").read_text()) == {"run": {}}
    assert (folder / "release.json").read_bytes() == manifest.canonical()
    assert {path.name for path in (folder / PROVENANCE).iterdir()} == {"metadata", "targets"}


@pytest.mark.parametrize("limit", [100, 5000, 10**9])
def test_shards_hold_the_model_and_lead_to_the_next_release(
    run: PublishedRun, content: Content, tmp_path: Path, limit: int
) -> None:
    folder = tmp_path / "cut"
    install(folder, content, Form(shard_bytes=limit))
    there = Installed.read(folder)
    assert len(there.files) == (1 if limit == 10**9 else 2)
    assert there.flat().tobytes() == run.models["0.1.1"].tobytes()
    assert (folder / "model.safetensors.index.json").exists() == (len(there.files) > 1)
    run.release("0.1.2")
    done = pull(FolderSource(run.public), "tiny-lm", folder)
    assert done.plan.keyframe is None
    assert Installed.read(folder).flat().tobytes() == run.models["0.1.2"].tobytes()


def test_converted_tensors_are_those_of_torch_and_back_again(
    run: PublishedRun, content: Content, tmp_path: Path
) -> None:
    import torch

    kinds: dict[Stored, torch.dtype] = {"BF16": torch.bfloat16, "F16": torch.float16}
    for dtype, kind in kinds.items():
        install(tmp_path / dtype, content, Form(dtype))
        there = Installed.read(tmp_path / dtype)
        assert there.is_converted
        assert there.manifest == content.manifest
        found = load_torch(tmp_path / dtype / "model.safetensors")
        for name, view in SPACE.unflatten(run.models["0.1.1"]).items():
            assert torch.equal(found[name], torch.from_numpy(view).to(kind))
    done = pull(FolderSource(run.public), "tiny-lm", tmp_path / "BF16")
    assert (done.changed, done.plan.keyframe is None) == (True, False)  # a converted model leads nowhere
    assert contents(tmp_path / "BF16") == contents(tmp_path / "model")


def test_asking_for_the_form_that_is_there_changes_nothing(run: PublishedRun, tmp_path: Path) -> None:
    source, options = FolderSource(run.public), PullOptions(form=Form("BF16"))
    assert pull(source, "tiny-lm", tmp_path / "half", options).changed
    assert not pull(source, "tiny-lm", tmp_path / "half", options).changed
    assert pull(source, "tiny-lm", tmp_path / "half", PullOptions(form=Form("F16"))).changed
    assert pull(source, "tiny-lm", tmp_path / "whole").changed
    assert not pull(source, "tiny-lm", tmp_path / "whole", PullOptions(form=Form("F32"))).changed


def test_a_value_beyond_the_type_changes_nothing(run: PublishedRun, content: Content, tmp_path: Path) -> None:
    before = contents(tmp_path / "model")
    large_P = run.models["0.1.1"].copy()
    large_P[-1] = 1e30
    with pytest.raises(UsageError, match=r"'embedding' cannot be converted: 1e\+30 is too large: f16 ends at 65504"):
        install(tmp_path / "model", replace(content, tensor=of_flat(SPACE, large_P)), Form("F16"))
    assert contents(tmp_path / "model") == before
    assert not list(tmp_path.glob(".model*"))


def test_memory_holds_a_piece_and_not_a_second_model(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []

    def convert(data: np.ndarray, dtype: str, wanted: str) -> np.ndarray:
        pieces.append(len(data) // 4)
        return data.view("<f4").astype("<f2").view(np.uint8)

    monkeypatch.setattr(model_files, "PIECE", 100)
    monkeypatch.setattr(model_files, "convert", convert)
    for spec in stored_specs(SPACE.tensors, "F16"):
        data = np.zeros(4 * spec.size, np.uint8)
        size = sum(len(piece) for piece in model_files._converted(spec, iter([data]), "F32"))
        assert size == 2 * spec.size
    assert max(pieces) == 100


@pytest.mark.parametrize("step", ["write_model", "exchange_folders"])
def test_a_full_disk_or_a_stop_leaves_the_old_folder(
    run: PublishedRun, content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = contents(tmp_path / "model")
    for error, ours in ((OSError(28, "full"), DiskFullError), (KeyboardInterrupt(), KeyboardInterrupt)):

        def fails(*_: object, error: BaseException = error) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(installed_module, step, fails)
            with pytest.raises(ours):
                install(tmp_path / "model", content, Form("BF16"))
        assert contents(tmp_path / "model") == before
        assert not list(tmp_path.glob(".model*"))


def test_what_may_be_replaced(content: Content, tmp_path: Path) -> None:
    check_target(tmp_path / "model")
    check_target(tmp_path / "new")
    (tmp_path / "model" / "model.safetensors").unlink()
    check_target(tmp_path / "model")  # a damaged release is still one
    (tmp_path / "model" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"'thesis\.tex', which was not pulled"):
        check_target(tmp_path / "model")
    mine = tmp_path / "mine"
    mine.mkdir()
    check_target(mine)
    (mine / "config.json").write_text("{}")  # a name that releases have too, but no release
    with pytest.raises(UsageError, match=r"'config\.json', which was not pulled"):
        check_target(mine)
    with pytest.raises(UsageError, match="is a file"):
        check_target(mine / "config.json")


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/config.json", "config.json\\", "evil.py", "pytorch_model.bin", "README.md", "release.json", ""],
)
def test_a_manifest_names_no_path_no_code_and_none_of_our_files(name: str) -> None:
    with pytest.raises(UnknownFieldError):
        ReleaseFile.read({"name": name, "blob": {"digest": "b3:" + "0" * 64, "size_bytes": 1}})


def test_files_in_a_manifest_are_sorted_unique_and_bounded(content: Content) -> None:
    body = content.manifest.model_dump(mode="json")
    assert [file["name"] for file in body["files"]] == sorted(SIDE_FILES)
    huge = BlobRef(digest="b3:" + "0" * 64, size_bytes=1 << 29).model_dump()
    remerged = {"left_out": ["b3:" + "1" * 64], "repeated": [], "reason": "it lies", "report": body["card"]}
    without = {**body, "updates": [], "remerged": remerged}
    Manifest.read(without)
    with pytest.raises(UnknownFieldError, match="beside the weights"):
        Manifest.read({**without, "remerged": {**remerged, "report": huge}})
    for change in (
        {"files": body["files"][::-1]},
        {"files": [*body["files"], body["files"][-1]]},
        {"files": [{**body["files"][0], "blob": huge}]},
        {"card": huge},
        {"lineage": None},
    ):
        with pytest.raises(UnknownFieldError):
            Manifest.read({**body, **change})


def test_a_note_that_does_not_hold_together(content: Content, tmp_path: Path) -> None:
    path = tmp_path / "model" / "installed.json"
    note = json.loads(path.read_bytes())
    digest = "b3:" + "0" * 64
    for change in (
        {"shards": [1, 2]},
        {"shards": []},
        {"shards": [0, 2]},
        {"dtype": "F8"},
        {"dtype": "BF16"},
        {"converted": {"embedding": digest}},
        {"provenance": {"../../evil": digest}},
        {"provenance": {}},
        {"release": digest},
        {"extra": 1},
    ):
        path.write_bytes(json.dumps({**note, **change}, sort_keys=True, separators=(",", ":")).encode())
        with pytest.raises(VerificationError):
            Installed.open(tmp_path / "model")
    path.write_bytes(json.dumps(note).encode())
    with pytest.raises(VerificationError, match="not written as pulling writes it"):
        Installed.open(tmp_path / "model")


def test_a_mapped_model_outlives_the_next_release(run: PublishedRun, content: Content, tmp_path: Path) -> None:
    there = Installed.read(tmp_path / "model")
    run.release("0.1.2")
    pull(FolderSource(run.public), "tiny-lm", tmp_path / "model")
    assert there.flat().tobytes() == run.models["0.1.1"].tobytes()
    assert not there.flat().flags.writeable
    assert load_file(tmp_path / "model" / "model.safetensors")["embedding"].shape == (256, 8)


def test_what_is_put_into_the_folder_while_it_is_pulled_stays(
    content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = tmp_path / "model", installed_module.write_model
    before = contents(folder)

    def meanwhile(*args: Any) -> Any:
        (folder / "notes.txt").write_bytes(b"mine")
        return real(*args)

    monkeypatch.setattr(installed_module, "write_model", meanwhile)
    with pytest.raises(UsageError, match=r"notes\.txt.* would be deleted"):
        install(folder, content)
    assert contents(folder) == {**before, "notes.txt": b"mine"}
    assert not list(tmp_path.glob(".model.new-*"))
