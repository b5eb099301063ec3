"""Factors of an update as an adapter: peft loads it, and the model says what the update makes of it."""

from __future__ import annotations

import json
import os
import socket
from errno import ENOSPC
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np
import peft
import pytest
import torch

from barnraise.config import TrainingConfig
from barnraise.errors import DiskFullError, UsageError
from barnraise.tokenizer import Tokenizer
from barnraise.update_config import CodecConfig
from barnraise.updates import Carrier, Update, apply_update
from barnraise.updates.factors import Factors
from barnraise.updates.part import Part
from contributor.tasks.causal_lm import CausalLMTask
from contributor.training.adapter_folder import AdapterFiles, adapter_of
from contributor.training.lora import LowRank
from contributor.training.trainable import Some
from contributor.training.trainer import Trainer, Unit
from contributor.unit import Wanted, finish_unit
from merge.architectures import build, ecosystem_files, flat_of, load_flat, space_of
from merge.architectures.causal_lm import CausalLMArchitecture
from tiny_models import GPT2, LLAMA, causal

# peft's PeftModel asks transformers for a property by its old name; training does not use that class.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning",
    "ignore:Model has `tie_word_embeddings=True` and a tied layer:UserWarning",  # both have the same factors
    "ignore:Model with `tie_word_embeddings=True` and the:UserWarning",
    "ignore:fan_in_fan_out is set to:UserWarning",  # of one kind of layer, where a model has both
)

BASE = "b3:" + "0" * 64
TOKENS = torch.arange(24).reshape(2, 12)
MODELS = {
    "tied": LLAMA,
    "untied": {**LLAMA, "tie_word_embeddings": False},
    "transposed": GPT2,
    "transposed and not": {**GPT2, "tie_word_embeddings": False},
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def trained(config: dict[str, Any], what: Any, carrier: Carrier, codec: CodecConfig) -> Update:
    """The update of a short unit."""
    model = causal(config)
    task = CausalLMTask(model, Tokenizer.of(ecosystem_files(model)), b"a text that a model can learn in no time\n" * 9)
    space = carrier.part.whole if isinstance(carrier, Factors) else carrier.whole
    training = TrainingConfig(steps=6, batch=4, warmup_steps=1, learning_rate=3e-2)
    trainer = Trainer(Unit(task, space, flat_of(build(model), space), training, 1, what=what), torch.device("cpu"))
    while not trainer.done:
        trainer.step()
    data = finish_unit(Wanted(space, BASE, codec, carrier, what), trainer.change()).data
    return Update.parse(data, space, base_digest=BASE)


def matrices(config: dict[str, Any]) -> Part:
    space = space_of(build(causal(config)))
    return Part(space, tuple(len(spec.shape) == 2 for spec in space.tensors))


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=TOKENS).logits


@pytest.mark.parametrize("codec", [CodecConfig(name="dense"), CodecConfig(name="blockwise", bits=4)], ids=["32", "4"])
@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_peft_makes_of_it_what_the_update_makes(config: dict[str, Any], codec: CodecConfig, tmp_path: Path) -> None:
    factors = Factors(matrices(config), 18)  # more than some of the matrices have
    update = trained(config, LowRank(factors, 0.5, 3), factors, codec)
    model = causal(config)
    files = adapter_of(CausalLMArchitecture(model).outline(), update)
    assert files.write(tmp_path / "adapter") == sum(path.stat().st_size for path in (tmp_path / "adapter").iterdir())
    base: Any = build(model)
    before = logits(base)
    space = factors.part.whole
    changed = build(model)
    load_flat(changed, space, apply_update(flat_of(base, space), update))
    found = logits(peft.PeftModel.from_pretrained(base, tmp_path / "adapter"))
    assert torch.allclose(found, logits(changed), atol=2e-5)
    assert not torch.allclose(found, before, atol=1e-2)


def test_an_update_of_another_kind_is_none(tmp_path: Path) -> None:
    part = Part.of(matrices(LLAMA).whole, ("*_proj.weight",))
    assert part is not None
    update = trained(LLAMA, Some(part), part, CodecConfig(name="dense"))
    with pytest.raises(UsageError, match=r"no low-rank factors; only those of a run with update\.lora"):
        adapter_of(build(causal(LLAMA)), update)


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    part = Part.of(matrices(LLAMA).whole, ("*.q_proj.weight",))
    assert part is not None
    factors = Factors(part, 2)
    files = adapter_of(build(causal(LLAMA)), trained(LLAMA, LowRank(factors), factors, CodecConfig(name="dense")))
    files.write(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (2, 2, ["model.layers.0.self_attn.q_proj"])
    with pytest.raises(UsageError, match="is there already"):
        files.write(tmp_path / "adapter")


def test_a_full_disk_leaves_no_half_of_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = AdapterFiles({"r": 2}, {"base_model.model.lm_head.lora_A.weight": np.zeros((2, 3), np.float32)})
    fsync, written = os.fsync, []

    def full_at_the_second_file(descriptor: int) -> None:
        written.extend([descriptor] if S_ISREG(os.fstat(descriptor).st_mode) else [])
        if len(written) > 1:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_the_second_file)
    with pytest.raises(DiskFullError, match="no space left"):
        files.write(tmp_path / "deep" / "adapter")
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*adapter*"))
    assert files.write(tmp_path / "deep" / "adapter") > 0
    assert sorted(one.name for one in (tmp_path / "deep" / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
