"""Adapters as derived models: what peft writes is imported, pulled and put on its parent again by peft."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.errors import NotACheckpointError
from barnraise.releases.cache import Cache
from barnraise.releases.derived.manifest import ModelRef
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import TrustOptions
from barnraise.releases.verify import verify_folder
from family import FamilyRun, holds
from tiny_models import GPT2, LLAMA, saved_model

# peft's PeftModel asks transformers for a property by its old name; training does not use that class.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

TOKENS = torch.arange(24).reshape(2, 12)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def loaded(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=TOKENS).logits


def adapter(base: Path, folder: Path, **said: Any) -> tuple[Path, torch.Tensor]:
    """An adapter that does something, written by peft, and what the model says under it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = peft.get_peft_model(loaded(base), peft.LoraConfig(**{"r": 2, "init_lora_weights": False} | said))
    model.save_pretrained(folder)
    return folder, logits(model)


@pytest.fixture
def family(tmp_path: Path) -> tuple[FamilyRun, ModelRef, Path]:
    """A run that lists a small llama, and the folder which that was in."""
    run, base = FamilyRun.at(tmp_path / "run", now=True), saved_model(tmp_path / "base", LLAMA, torch.float32)
    return run, run.imports(base, "tiny-llama", run.trunk("0.1.2")).manifest.ref, base


CONFIGS: dict[str, dict[str, Any]] = {
    "some": {"target_modules": ["q_proj", "up_proj"], "lora_alpha": 6},
    "stabilised": {"target_modules": "all-linear", "use_rslora": True},
    "a trained head beside": {"target_modules": ["v_proj"], "modules_to_save": ["norm"]},
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_what_peft_wrote_is_put_on_its_parent_again_by_peft(
    family: tuple[FamilyRun, ModelRef, Path], tmp_path: Path, config: dict[str, Any]
) -> None:
    run, parent, base = family
    folder, said = adapter(base, tmp_path / "adapter", **config)
    done = run.imports(folder, "tiny-tables", parent)
    assert done.manifest.lineage.relation == "adapter"
    options = PullOptions(trust=TrustOptions(home=tmp_path / "trust"), cache=Cache(tmp_path / "cache", 1 << 30))
    for name in ("tiny-llama", "tiny-tables"):
        pull(FolderSource(run.run.root), name, tmp_path / name, options)
    assert not torch.allclose(said, logits(loaded(tmp_path / "tiny-llama")))
    again = peft.PeftModel.from_pretrained(loaded(tmp_path / "tiny-llama"), tmp_path / "tiny-tables")
    assert torch.equal(said, logits(again))
    assert (tmp_path / "tiny-tables" / "adapter_config.json").read_bytes() == (
        folder / "adapter_config.json"
    ).read_bytes()
    assert verify_folder(tmp_path / "tiny-tables", options.trust).name == "tiny-tables"


def test_what_is_stored_is_the_adapter_and_its_page_says_what_it_is(
    family: tuple[FamilyRun, ModelRef, Path], tmp_path: Path
) -> None:
    run, parent, base = family
    folder, _ = adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    (folder / "README.md").unlink()
    done = run.imports(folder, "tiny-tables", parent)
    assert done.model_bytes == sum(value.nbytes for value in load_file(folder / "adapter_model.safetensors").values())
    assert not run.imports(folder, "tiny-tables", parent).is_new
    options = PullOptions(trust=TrustOptions(home=tmp_path / "trust"), cache=Cache(tmp_path / "cache", 1 << 30))
    pull(FolderSource(run.run.root), "tiny-tables", tmp_path / "pulled", options)
    assert "base_model_relation: adapter" in (tmp_path / "pulled" / "README.md").read_text()
    found, expected = (load_file(one / "adapter_model.safetensors") for one in (tmp_path / "pulled", folder))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_an_adapter_of_transposed_layers_and_of_embeddings_fits(tmp_path: Path) -> None:
    run, base = FamilyRun.at(tmp_path / "run", now=True), saved_model(tmp_path / "base", GPT2, torch.float32)
    parent = run.imports(base, "tiny-gpt2", run.trunk("0.1.2")).manifest.ref
    folder, _ = adapter(base, tmp_path / "adapter", target_modules=["c_attn", "wpe"], fan_in_fan_out=True)
    assert run.imports(folder, "tiny-tables", parent).manifest.lineage.relation == "adapter"


def _edited(folder: Path, what: str) -> None:
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    tensors = load_file(weights)
    first = sorted(tensors)[0]
    if what == "method":
        config.write_text(json.dumps({**json.loads(config.read_text()), "peft_type": "IA3"}))
        return
    if what == "no config":
        config.unlink()
        weights.rename(folder / "model.safetensors")
        return
    tensor = tensors.pop(first)
    if what == "elsewhere":
        tensors = {name.replace("layers.0", "layers.9"): one for name, one in {**tensors, first: tensor}.items()}
    elif what == "wide":
        tensors[first] = np.concatenate([tensor, tensor], axis=1)
    elif what == "vector":
        tensors[first] = tensor.reshape(-1)
    elif what == "nothing":
        tensors = {"base_model.model.model.norm.weight": np.zeros(16, np.float32)}
    save_file(tensors, weights)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("method", "'IA3'; expected LORA"),
        ("no config", r"no adapter_config\.json; name the folder"),
        ("elsewhere", r"'model\.layers\.9\.self_attn\.q_proj', which tiny-llama 0\.1\.0 does not have"),
        ("wide", r"a matrix of \[16, 32\], tiny-llama 0\.1\.0 has one of \[16, 16\]"),
        ("vector", "expected a matrix"),
        ("half", r"'model\.layers\.0\.self_attn\.q_proj' has one factor, expected two"),
        ("nothing", "holds no factors"),
    ],
)
def test_an_adapter_that_cannot_be_put_on_its_parent_is_refused(
    family: tuple[FamilyRun, ModelRef, Path], tmp_path: Path, what: str, said: str
) -> None:
    run, parent, base = family
    folder, _ = adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    _edited(folder, what)
    with pytest.raises(NotACheckpointError, match=said):
        run.imports(folder, "tiny-tables", parent)


def test_the_file_without_its_folder_is_refused(family: tuple[FamilyRun, ModelRef, Path], tmp_path: Path) -> None:
    run, parent, base = family
    folder, _ = adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    with pytest.raises(NotACheckpointError, match="name the folder that peft wrote"):
        run.imports(folder / "adapter_model.safetensors", "tiny-tables", parent)


def test_where_a_whole_model_is_expected_an_adapter_is_none(tmp_path: Path) -> None:
    base = saved_model(tmp_path / "base", LLAMA, torch.float32)
    folder, _ = adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    with pytest.raises(NotACheckpointError, match="holds an adapter, not a whole model"):
        Checkpoint.open(folder)
    shutil.copytree(base, folder, dirs_exist_ok=True)
    holds(folder, base)
