"""``barnraise mask``: a file, and the lines that name it; a run that starts with them, and one that cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnraise.cli import run
from barnraise.config import load_run_config
from barnraise.digest import digest_bytes
from barnraise.errors import ConfigValueError
from barnraise.run_folder import RunFolder
from barnraise.updates import Mask
from commands import answered
from coordinator.masks import keep_mask
from merge.architectures import build, space_of
from simulator import as_toml, tiny_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(as_toml(tiny_config(update={"codec": {"name": "blockwise", "bits": 8}}).model_dump(mode="json")))
    return path


def test_it_writes_a_mask_of_the_wanted_size_and_says_how_to_name_it(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = answered(capsys, "mask", str(config), "--density", "0.01", "--examples", "2")
    assert code == 0
    data = (config.parent / "mask.safetensors").read_bytes()
    assert (found["digest"], found["size_bytes"]) == (digest_bytes(data), len(data))
    space = space_of(build(tiny_config().model))
    assert Mask.parse(data, space).space.size == found["entries"] == round(0.01 * space.size)


def test_a_run_with_the_printed_lines_keeps_the_mask(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mask", str(config), "--by", "magnitude"]) == 0
    lines = capsys.readouterr().out.split("\n\n")[1]
    config.write_text("\n".join(line for line in config.read_text().splitlines() if not line.startswith("update")))
    config.write_text(f'{config.read_text()}\n[update]\ncodec = {{ name = "blockwise", bits = 8 }}\n{lines}\n')
    settings = load_run_config(config)
    folder = RunFolder(config.parent / "run")
    folder.create()
    keep_mask(folder, config, settings)
    assert settings.update.mask is not None
    stored = folder.public / "blobs" / settings.update.mask.digest[3:5] / settings.update.mask.digest[5:]
    assert stored.read_bytes() == (config.parent / "mask.safetensors").read_bytes()
    (config.parent / "mask.safetensors").write_bytes(b"another")
    keep_mask(folder, config, settings)  # the run has it
    other = RunFolder(config.parent / "other")
    other.create()
    with pytest.raises(ConfigValueError, match="no mask for this model"):
        keep_mask(other, config, settings)
    (config.parent / "mask.safetensors").unlink()
    with pytest.raises(ConfigValueError, match="cannot be read"):
        keep_mask(other, config, settings)


def test_another_mask_than_was_pinned_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mask", str(config), "--by", "random", "--seed", "1"]) == 0
    capsys.readouterr()
    pinned = {"file": "mask.safetensors", "digest": "b3:" + "0" * 64, "size_bytes": 7}
    settings = tiny_config(update={"codec": {"name": "dense"}, "mask": pinned})
    folder = RunFolder(config.parent / "run")
    folder.create()
    with pytest.raises(ConfigValueError, match=r"update.mask says b3:0{64} of 7; name the file that is meant"):
        keep_mask(folder, config, settings)


def test_the_same_arguments_choose_the_same_random_mask(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        answered(capsys, "mask", str(config), "--by", "random", "--seed", seed, "--out", str(config.parent / name))[1]
        for seed, name in (("1", "a"), ("1", "b"), ("2", "c"))
    ]
    assert found[0]["digest"] == found[1]["digest"] != found[2]["digest"]
