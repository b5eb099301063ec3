"""The public API: what is pulled comes back exactly, without a copy, without torch unless it is asked for."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import barnraise
import published as published_module
from barnraise.checkpoints import ITEM_BYTES
from barnraise.errors import MissingExtraError, NoSuchVersionError, UsageError, VerificationError
from barnraise.releases import load as load_module
from barnraise.releases.convert import narrow, widen
from barnraise.updates import ParameterSpace, TensorSpec
from published import SPACE, PublishedRun, published

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python-api.md"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedRun:
    for home in ("DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{home}_HOME", str(tmp_path / home.lower()))
    monkeypatch.chdir(tmp_path)
    return published(tmp_path / "run", releases=3)


@pytest.fixture
def folder(run: PublishedRun) -> Path:
    return barnraise.pull("tiny-lm", into="model", source=run.public).folder


def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for home in ("DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{home}_HOME", str(tmp_path / home.lower()))
    monkeypatch.chdir(tmp_path)
    space = ParameterSpace.of(
        [TensorSpec("model.embed_tokens.weight", (256, 8)), TensorSpec("model.norm.weight", (8,))]
    )
    monkeypatch.setattr(published_module, "SPACE", space)
    run = PublishedRun(tmp_path / "run", name="stdlib-lm")
    for number in range(4):
        run.release(f"0.1.{number}")
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    found = doctest.testfile(str(PAGE), module_relative=False, globs={"SOURCE": str(run.public)}, optionflags=flags)
    assert found.failed == 0
    assert found.attempted > 12


def test_arrays_are_the_released_ones_and_views(run: PublishedRun, folder: Path) -> None:
    model = barnraise.load(folder)
    assert (model.name, model.version, model.config) == ("tiny-lm", "0.1.2", {"model_type": "tiny"})
    assert list(model) == sorted(model) == [spec.name for spec in SPACE.tensors]
    assert model.shape("embedding") == (256, 8)
    assert SPACE.flatten(dict(model)).tobytes() == run.models["0.1.2"].tobytes()
    one, again = model["embedding"], model["embedding"]
    assert np.shares_memory(one, again)
    assert not one.flags.writeable
    assert "tiny-lm 0.1.2: 2 tensors" in repr(model)
    with pytest.raises(KeyError):
        model["nothing"]


def test_torch_tensors_share_pages_and_never_change_the_file(run: PublishedRun, folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    model = barnraise.load(folder, framework="torch")
    for name, view in SPACE.unflatten(run.models["0.1.2"].copy()).items():
        assert torch.equal(model[name], torch.from_numpy(view))
    one = model["embedding"]
    one.zero_()
    assert model["embedding"].sum() == 0  # the process's own pages
    assert (folder / "model.safetensors").read_bytes() == before
    assert barnraise.load(folder, framework="torch")["embedding"].sum() != 0


@pytest.mark.parametrize("stored", ["f32", "bf16", "f16"])
@pytest.mark.parametrize("wanted", [None, "f32", "bf16", "f16"])
def test_every_type_from_every_type(run: PublishedRun, stored: str, wanted: str | None) -> None:
    kinds = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
    barnraise.pull("tiny-lm", into="half", source=run.public, dtype=stored)
    kept = torch.from_numpy(run.models["0.1.2"].copy()).to(kinds[stored])
    expected = kept.to(kinds[wanted or stored])
    model = barnraise.load("half", framework="torch", dtype=wanted)
    assert torch.equal(torch.cat([model[name].flatten() for name in model]), expected)
    if wanted != "bf16":
        arrays = barnraise.load("half", dtype=wanted)
        flat = np.concatenate([arrays[name].ravel() for name in arrays])
        assert flat.dtype == (np.float16 if "f16" in (wanted, stored if wanted is None else None) else np.float32)
        assert np.array_equal(flat, expected.float().numpy() if flat.dtype == np.float32 else expected.numpy())


def test_bfloat16_widens_exactly(run: PublishedRun) -> None:
    barnraise.pull("tiny-lm", into="half", source=run.public, dtype="bf16")
    flat_P = run.models["0.1.2"]
    model = barnraise.load("half")
    assert np.array_equal(SPACE.flatten(dict(model)), widen(narrow(flat_P, "BF16"), "BF16"))


def test_a_spec_is_pulled_where_it_is_found_again(run: PublishedRun, tmp_path: Path) -> None:
    model = barnraise.load("tiny-lm@~0.1.1", source=run.public)
    assert model.version == "0.1.2"
    assert model.folder.is_relative_to(tmp_path / "cache")
    assert barnraise.pull("tiny-lm@~0.1.1", source=run.public).changed is False
    assert barnraise.load("tiny-lm@0.1.0", source=run.public).folder != model.folder
    run.release("0.1.3")
    assert barnraise.load("tiny-lm@~0.1.1", source=run.public).version == "0.1.3"


def test_a_default_folder_is_no_path_from_outside(run: PublishedRun, tmp_path: Path) -> None:
    for spec in ("../../evil", "tiny-lm@../../evil", "/etc/evil", "..", ".", "", "@*", "tiny-lm@" + "1" * 400):
        with pytest.raises((NoSuchVersionError, barnraise.errors.BadVersionError, UsageError)):
            barnraise.pull(spec, source=run.public)
    models = tmp_path / "cache" / "barnraise" / "models"
    assert not models.exists() or not list(models.iterdir())
    assert not (tmp_path / "evil").exists()


def test_the_environment_names_a_source(run: PublishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="BARNRAISE_FROM"):
        barnraise.pull("tiny-lm", into="model")
    monkeypatch.setenv("BARNRAISE_FROM", str(run.public))
    assert barnraise.pull("tiny-lm", into="model").changed


def test_wishes_that_cannot_be_met(run: PublishedRun, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cannot: tuple[dict[str, Any], ...] = (
        {"framework": "jax"},
        {"dtype": "f8"},
        {"dtype": "bf16"},
        {"source": run.public},
        {"trust": "b3:1"},
    )
    for wishes in cannot:
        with pytest.raises(UsageError):
            barnraise.load(folder, **wishes)
    with pytest.raises(UsageError, match="no type"):
        barnraise.pull("tiny-lm", into="x", source=run.public, dtype="int8")
    monkeypatch.setattr(load_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="torch"):
        barnraise.load(folder, framework="torch")
    with pytest.raises(AttributeError, match="no attribute 'push'"):
        getattr(barnraise, "push")  # noqa: B009  # mypy knows that there is none
    assert {"load", "pull", "__version__"} <= set(dir(barnraise))


def test_damage_is_found_unless_it_is_not_looked_for(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError, match="tensor embedding"):
        barnraise.load(folder)
    assert barnraise.load(folder, verify=False)["embedding"].shape == (256, 8)
    (folder / "config.json").write_text("{}")
    with pytest.raises(VerificationError, match=r"config\.json was altered"):
        barnraise.load(folder, verify=False)
    with pytest.raises(VerificationError, match="holds no whole release"):
        barnraise.load(Path("nowhere"))


def test_importing_costs_nothing_and_arrays_need_no_torch(folder: Path) -> None:
    script = (
        "import sys, json, barnraise; light = [m for m in sys.modules if m.split('.')[0] in "
        "('numpy', 'torch', 'pydantic', 'typer', 'tuf')]; barnraise.load(sys.argv[1])['embedding']; "
        "print(json.dumps([light, 'numpy' in sys.modules, 'torch' in sys.modules, 'ray' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], True, False, False]


@pytest.mark.parametrize("dtype", sorted(ITEM_BYTES))
def test_tensors_of_every_type_that_a_derived_model_may_have(dtype: str) -> None:
    data = np.zeros(2 * ITEM_BYTES[dtype], dtype=np.uint8)
    tensor = load_module._torch_tensor(data, dtype, None)
    assert (len(tensor), tensor.element_size()) == (2, ITEM_BYTES[dtype])
    array = load_module._numpy_array(data, dtype, "F16" if dtype in ("F32", "BF16") else None)
    assert (len(array), array.itemsize) == (2, 2 if dtype in ("F32", "BF16") else ITEM_BYTES[dtype])
