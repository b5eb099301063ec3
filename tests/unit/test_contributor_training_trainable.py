"""What trains: some tensors, or factors; what it costs, and what it changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from barnraise.config import TrainingConfig
from barnraise.model_config import ByteLMConfig
from barnraise.updates import Mask, ParameterSpace, Part, TensorSpec
from barnraise.updates.factors import Factors, product_of
from barnraise.updates.mask import write_mask
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.checkpoint import load_checkpoint, save_checkpoint
from contributor.training.entries import Entries
from contributor.training.lora import LowRank, put_factors
from contributor.training.scores import fisher_scores, magnitude_scores
from contributor.training.trainable import EVERYTHING, Some, WhatTrains
from contributor.training.trainer import Trainer, Unit
from merge.architectures import build, flat_of, space_of
from merge.compress.mask import choose_entries

CPU = torch.device("cpu")
MODEL = ByteLMConfig(dim=16, layers=1, heads=2, hidden=24, context=16)
SPACE = space_of(build(MODEL))
BASE_P = flat_of(build(MODEL), SPACE)
TEXT = b"the same line again\n" * 40
LEASE = "a" * 32
MLP = Part.of(SPACE, ["*.mlp.*", "model.norm.weight"])
FACTORS = Factors(Part.of(SPACE, ["*.mlp.*", "*.self_attn.*"]), 2)
MASK = Mask.parse(write_mask(SPACE, "b3:" + "0" * 64, choose_entries(magnitude_scores(BASE_P), SPACE, 0.1)), SPACE)
KINDS: dict[str, WhatTrains] = {
    "everything": EVERYTHING,
    "some": Some(MLP),
    "factors": LowRank(FACTORS, 2.0, 7),
    "entries": Entries(MASK),
}
every_kind = pytest.mark.parametrize("what", KINDS.values(), ids=KINDS)


def unit(what: WhatTrains, steps: int = 5) -> Unit:
    training = TrainingConfig(steps=steps, batch=2, warmup_steps=2, learning_rate=1e-2, weight_decay=0.1)
    return Unit(ByteLMTask(MODEL, TEXT), SPACE, BASE_P, training, 1, None, what)


def run(trainer: Trainer, steps: int | None = None) -> Trainer:
    while not trainer.done and (steps is None or len(trainer.losses) < steps):
        trainer.step()
    return trainer


@every_kind
def test_it_learns(what: WhatTrains) -> None:
    losses = run(Trainer(unit(what, 30), CPU)).losses
    assert losses[-1] < losses[0] - 0.1


@every_kind
def test_the_change_makes_a_plain_model_what_training_made_of_this_one(what: WhatTrains) -> None:
    trainer = run(Trainer(unit(what), CPU))
    carrier = {"everything": None, "some": MLP, "factors": FACTORS, "entries": MASK}[
        next(name for name, kind in KINDS.items() if kind is what)
    ]
    where = np.arange(SPACE.size) if carrier is None else carrier.positions(0)  # of the only segment
    changed_P = BASE_P.copy()
    changed_P[where] += trainer.change()
    plain = Unit(ByteLMTask(MODEL, TEXT), SPACE, changed_P, unit(what).training, 1)
    batch = plain.task.batch(3, 3, 4)
    with torch.no_grad():
        mine, theirs = (plain.task.loss(one._module, batch).total for one in (trainer, Trainer(plain, CPU)))
    assert float(mine) == pytest.approx(float(theirs), rel=1e-5)
    assert np.abs(trainer.change()).max() > 1e-3


@every_kind
@pytest.mark.parametrize("stop_after", [1, 4])
def test_a_unit_continued_from_a_checkpoint_has_the_same_bits(
    tmp_path: Path, what: WhatTrains, stop_after: int
) -> None:
    whole = run(Trainer(unit(what), CPU))
    layout = what.layout(SPACE)
    save_checkpoint(tmp_path / "checkpoint", LEASE, layout, run(Trainer(unit(what), CPU), stop_after).progress())
    progress = load_checkpoint(tmp_path / "checkpoint", LEASE, layout)
    assert progress is not None
    second = Trainer(unit(replace(what, seed=8) if isinstance(what, LowRank) else what), CPU)
    second.restore(progress)
    assert run(second).losses == whole.losses
    assert np.array_equal(second.change(), whole.change())


@every_kind
def test_moments_and_checkpoints_are_as_large_as_what_trains(what: WhatTrains) -> None:
    progress = run(Trainer(unit(what), CPU)).progress()
    size = what.layout(SPACE).size
    assert {len(v) for v in (progress.model_P, progress.first_P, progress.second_P)} == {size}
    assert (size < SPACE.size / 2) == (what is not EVERYTHING)


@pytest.mark.parametrize("what", list(KINDS.values())[1:], ids=list(KINDS)[1:])
def test_nothing_else_has_a_gradient_or_changes(what: WhatTrains) -> None:
    trainer = run(Trainer(unit(what), CPU))
    trains = {id(parameter) for parameter in trainer._trainable.parameters.values()}
    rest = [p for p in trainer._module.parameters() if id(p) not in trains]
    assert rest
    assert all(p.grad is None and not p.requires_grad for p in rest)
    assert sum(p.numel() for p in trainer._module.parameters() if p.requires_grad) == what.layout(SPACE).size


def test_factors_begin_as_no_change_and_scale_counts() -> None:
    trainer = Trainer(unit(KINDS["factors"]), CPU)
    assert not trainer.change().any()
    run(trainer)
    parameters = trainer._trainable.parameters
    name = FACTORS.target.tensors[0].name
    a, b = (parameters[f"{name}/{side}"].detach().numpy() for side in "ab")
    assert np.array_equal(FACTORS.target.unflatten(trainer.change())[name], product_of(b * np.float32(2), a))


def test_a_fisher_is_the_mean_of_squares_of_single_gradients() -> None:
    task = ByteLMTask(MODEL, TEXT)
    found = fisher_scores([task], SPACE, BASE_P, 3, seed=4)
    module = build(MODEL)
    squares = np.zeros(SPACE.size)
    for step in range(3):
        module.zero_grad()
        loss = task.loss(module, task.batch(4, step, 1))
        (loss.total / loss.count).backward()
        squares += SPACE.flatten({name: p.grad.numpy() for name, p in module.named_parameters()}).astype(float) ** 2
    np.testing.assert_allclose(found, squares / 3, rtol=1e-4, atol=1e-12)


class _Tied(nn.Module):
    """Two uses of one matrix, as embedding and head of many models."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.embed(tokens))
        return found


def test_a_matrix_that_two_modules_share_has_factors_in_both() -> None:
    module = _Tied()
    space = ParameterSpace.of([TensorSpec("embed.weight", (11, 6))])
    (one,) = put_factors(module, Factors(Part(space, (True,)), 2), 1.0, 0).values()
    with torch.no_grad():
        one.b.uniform_(-1, 1)
    assert torch.equal(module.embed.weight, module.head.weight)
    assert [p.requires_grad for p in module.parameters()].count(True) == 2
