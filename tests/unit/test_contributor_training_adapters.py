"""Factors in models of transformers: in peft's layers where a matrix is a layer's own, beside the matrix where not."""

from __future__ import annotations

import importlib.util
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from barnraise.config import TrainingConfig
from barnraise.errors import ConfigValueError, MissingExtraError
from barnraise.model_config import ByteLMConfig
from barnraise.tokenizer import Tokenizer
from barnraise.updates.factors import Factors
from barnraise.updates.part import Part
from contributor.tasks.byte_lm import ByteLMTask
from contributor.tasks.causal_lm import CausalLMTask
from contributor.training import adapters
from contributor.training.adapters import layer_of, peft_library
from contributor.training.checkpoint import load_checkpoint, save_checkpoint
from contributor.training.how import How
from contributor.training.lora import LowRank, put_factors
from contributor.training.parametrised import uses_of
from contributor.training.trainer import Trainer, Unit
from merge.architectures import build, ecosystem_files, flat_of, space_of
from tiny_models import GPT2, LLAMA, causal

CPU = torch.device("cpu")
TEXT = b"every byte of a text is a token, unless somebody says otherwise\n" * 4
LEASE = "a" * 32
MODELS = {
    "tied": {**LLAMA, "num_hidden_layers": 2},
    "untied": {**LLAMA, "tie_word_embeddings": False},
    "transposed": GPT2,
    "transposed and not": {**GPT2, "tie_word_embeddings": False},
}
every_model = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
two_models = pytest.mark.parametrize("config", [MODELS[name] for name in ("tied", "transposed and not")])


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked for anything."""

    def refuse(*_args: Any) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def unit(config: dict[str, Any], seed: int = 7, steps: int = 3, batch: int = 4) -> Unit:
    """One that trains factors of every matrix, at twice their product; one matrix at least has fewer than the rank."""
    model = causal(config)
    task = CausalLMTask(model, Tokenizer.of(ecosystem_files(model)), TEXT)
    module = build(model)
    space = space_of(module)
    matrices = Part(space, tuple(len(spec.shape) == 2 for spec in space.tensors))
    training = TrainingConfig(steps=steps, batch=batch, warmup_steps=2, learning_rate=1e-2, weight_decay=0.1)
    return Unit(
        task, space, flat_of(module, space), training, 1, what=LowRank(Factors(matrices, 9), scale=2.0, seed=seed)
    )


def run(trainer: Trainer, steps: int | None = None) -> Trainer:
    while not trainer.done and (steps is None or len(trainer.losses) < steps):
        trainer.step()
    return trainer


def adapted(trainer: Trainer) -> set[str]:
    kind = peft_library().tuners.lora.LoraLayer
    return {name for name, module in trainer._module.named_modules() if isinstance(module, kind)}


@every_model
def test_the_change_makes_a_plain_model_what_training_made_of_this_one(config: dict[str, Any]) -> None:
    work = unit(config)
    trainer = run(Trainer(work, CPU))
    assert isinstance(work.what, LowRank)
    changed = {name: view.copy() for name, view in work.space.unflatten(work.base_P).items()}
    changes = work.what.factors.target.unflatten(trainer.change())
    assert all(np.abs(one).max() > 1e-4 for name, one in changes.items() if "wpe" not in name)
    for name, one in changes.items():
        changed[name] += one
    plain = Trainer(Unit(work.task, work.space, work.space.flatten(changed), work.training, 1), CPU)
    batch = work.task.batch(3, 3, 4)
    with torch.no_grad():
        mine, theirs = (work.task.loss(one._module, batch).total for one in (trainer, plain))
    assert float(mine) == pytest.approx(float(theirs), rel=1e-5)


@every_model
def test_what_a_unit_begins_with_is_the_base_and_follows_from_the_seed(config: dict[str, Any]) -> None:
    first, again, other = (Trainer(unit(config, seed), CPU) for seed in (7, 7, 8))
    assert not first.change().any()
    assert np.array_equal(first.trained(), again.trained())
    assert not np.array_equal(first.trained(), other.trained())
    assert np.array_equal(run(first).change(), run(again).change())


@every_model
def test_no_bit_of_the_base_moves_and_nothing_else_trains(config: dict[str, Any]) -> None:
    work = unit(config)
    trainer = Trainer(work, CPU)
    trains = {id(parameter) for parameter in trainer._trainable.parameters.values()}
    rest = {name: p for name, p in trainer._module.named_parameters() if id(p) not in trains}
    before = {name: p.detach().clone() for name, p in rest.items()}
    run(trainer)
    assert all(p.grad is None and not p.requires_grad and torch.equal(p, before[name]) for name, p in rest.items())
    assert sorted(p.numel() for p in rest.values()) == sorted(spec.size for spec in work.space.tensors)
    assert sum(p.numel() for p in trainer._module.parameters() if p.requires_grad) == work.what.layout(work.space).size


@every_model
def test_a_unit_continued_from_a_checkpoint_has_the_same_bits(tmp_path: Path, config: dict[str, Any]) -> None:
    whole, layout = run(Trainer(unit(config), CPU)), unit(config).what.layout(unit(config).space)
    save_checkpoint(tmp_path / "checkpoint", LEASE, layout, run(Trainer(unit(config), CPU), 2).progress())
    progress = load_checkpoint(tmp_path / "checkpoint", LEASE, layout)
    assert progress is not None
    second = Trainer(unit(config, seed=8), CPU)
    second.restore(progress)
    assert run(second).losses == whole.losses
    assert np.array_equal(second.change(), whole.change())


@two_models
def test_activations_that_are_computed_again_give_the_same_bits(config: dict[str, Any]) -> None:
    plain, again = (run(Trainer(unit(config), CPU, How(compute_again=one))) for one in (False, True))
    assert np.array_equal(plain.change(), again.change())


@pytest.mark.parametrize("how", [How(micro_batch=1), How(others=(CPU, CPU))], ids=["micro-batches", "several devices"])
@two_models
def test_parts_of_a_batch_give_what_the_batch_gives(config: dict[str, Any], how: How) -> None:
    whole, parts = (run(Trainer(unit(config), CPU, one)) for one in (How(), how))
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)
    np.testing.assert_allclose(parts.change(), whole.change(), atol=0.05 * np.abs(whole.change()).max())


@two_models
def test_factors_stay_float32_under_coarser_arithmetic(config: dict[str, Any]) -> None:
    trainer = run(Trainer(unit(config, steps=20), CPU, How(autocast=torch.bfloat16)))
    assert {p.dtype for p in trainer._trainable.parameters.values()} == {torch.float32}
    assert trainer.losses[-1] < trainer.losses[0] - 0.1


def test_peft_has_every_layer_that_has_a_matrix_of_its_own() -> None:
    attention, mlp = (f"model.layers.{n}.self_attn" for n in range(2)), (f"model.layers.{n}.mlp" for n in range(2))
    inner = {f"{one}.{side}_proj" for one in attention for side in "qkvo"}
    inner |= {f"{one}.{side}_proj" for one in mlp for side in ("gate", "up", "down")}
    assert adapted(Trainer(unit(MODELS["tied"]), CPU)) == inner
    outer = {"model.embed_tokens", "lm_head"}
    assert adapted(Trainer(unit(MODELS["untied"]), CPU)) == {one for one in inner if ".0." in one} | outer
    block = {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}
    found = {f"transformer.h.0.{one}" for one in block} | {"transformer.wpe"}
    assert adapted(Trainer(unit(MODELS["transposed"]), CPU)) == found
    assert adapted(Trainer(unit(MODELS["transposed and not"]), CPU)) == found | {"transformer.wte", "lm_head"}


def test_a_matrix_that_embedding_and_head_share_has_factors_in_both() -> None:
    trainer = Trainer(unit(MODELS["tied"]), CPU)
    pair = trainer._trainable.parameters["model.embed_tokens.weight/b"]
    with torch.no_grad():
        pair.uniform_(-1, 1)
    module: Any = trainer._module
    assert torch.equal(module.model.embed_tokens.weight, module.lm_head.weight)
    assert trainer.change().any()


def test_factors_of_some_layers_have_the_rank_and_scale_that_are_asked_for() -> None:
    module = build(causal(MODELS["tied"]))
    space = space_of(module)
    part = Part.of(space, ("model.layers.0.*_proj.weight", "model.layers.1.mlp.up_proj.weight"))
    assert part is not None
    pairs = put_factors(module, Factors(part, 9), 0.75, 0)
    shapes = {spec.name: spec.shape for spec in space.tensors}
    for name, pair in pairs.items():
        rank = min(9, *shapes[name])
        assert (tuple(pair.a.shape), tuple(pair.b.shape)) == ((rank, shapes[name][1]), (shapes[name][0], rank))
        assert pair.scale == pytest.approx(0.75)
    assert {name.split(".")[2] for name in pairs} == {"0", "1"}
    assert {min(pair.a.shape) for pair in pairs.values()} == {8, 9}


class _Scaled(nn.Embedding):
    """As some architectures have it: an embedding that is not only looked up."""

    def forward(self, *tokens: torch.Tensor) -> torch.Tensor:
        return super().forward(*tokens) * 4.0


class _Fused(nn.Module):
    """Reads the matrix of a layer in it without the layer, as fused kernels do."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.called, self.scaled = nn.Linear(3, 3), nn.Linear(3, 3), _Scaled(3, 3)
        self.bare = nn.Parameter(torch.zeros(3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.called(x) @ self.read.weight + self.bare
        return y


def test_a_matrix_that_is_read_in_another_way_than_through_its_layer_is_not_for_peft() -> None:
    module = nn.Sequential(_Fused())
    uses = {f"{id(owner)}.{name}": found for found in uses_of(module).values() for owner, name in found}
    fused = module[0]
    assert isinstance(fused, _Fused)
    assert layer_of(module, uses[f"{id(fused.called)}.weight"]) == "0.called"
    for owner, name in ((fused.read, "weight"), (fused.scaled, "weight"), (fused, "bare")):
        assert layer_of(module, uses[f"{id(owner)}.{name}"]) is None, name


def test_other_models_train_factors_without_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise AssertionError("peft is asked for")

    monkeypatch.setattr(adapters, "peft_library", missing)
    model = ByteLMConfig(dim=16, layers=1, heads=2, hidden=24, context=16)
    space = space_of(build(model))
    what = LowRank(Factors(Part(space, tuple(len(spec.shape) == 2 for spec in space.tensors)), 2))
    work = replace(unit(LLAMA), task=ByteLMTask(model, TEXT), space=space, base_P=flat_of(build(model), space))
    assert run(Trainer(replace(work, what=what), CPU)).change().any()


def test_without_peft_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'barnraise\[transformers\]'"):
        peft_library()


def test_what_peft_refuses_is_said_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = build(causal(MODELS["untied"]))
    space = space_of(module)
    part = Part.of(space, ("*.o_proj.weight",))
    assert part is not None
    monkeypatch.setattr(module.config, "model_type", "mamba")
    module.model.layers[0].self_attn.out_proj = module.model.layers[0].self_attn.o_proj
    del module.model.layers[0].self_attn.o_proj
    space = space_of(module)
    part = Part.of(space, ("*.out_proj.weight",))
    assert part is not None
    with pytest.raises(ConfigValueError, match=r"'out_proj' is incompatible .*update\.train"):
        put_factors(module, Factors(part, 2), 1.0, 0)
