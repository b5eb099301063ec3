"""Several devices compute one step's gradient; the CPU, taken several times, stands in for them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from barnraise.config import TrainingConfig
from barnraise.model_config import ByteLMConfig
from barnraise.updates.factors import Factors
from barnraise.updates.part import Part
from contributor.privacy.beginning import CLIP
from contributor.privacy.gradients import Private
from contributor.tasks import Batch, Loss
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.accumulate import Pass, Plain
from contributor.training.across import Across, shares_of
from contributor.training.how import How
from contributor.training.lora import LowRank
from contributor.training.trainable import EVERYTHING, Some, WhatTrains
from contributor.training.trainer import Trainer, Unit
from merge.architectures import build, flat_of, space_of

CPU = torch.device("cpu")
MODEL = ByteLMConfig(dim=16, layers=2, heads=2, hidden=24, context=16)
MODULE = build(MODEL)
SPACE = space_of(MODULE)
BASE_P = flat_of(MODULE, SPACE)
TASK = ByteLMTask(MODEL, b"the same line again\n" * 40)
PART = Part.of(SPACE, [spec.name for spec in SPACE.tensors if len(spec.shape) == 2][1:3])
assert PART is not None


def unit(batch: int, what: WhatTrains = EVERYTHING) -> Unit:
    training = TrainingConfig(steps=5, batch=batch, warmup_steps=2, learning_rate=1e-2, weight_decay=0.1)
    return Unit(TASK, SPACE, BASE_P, training, 7, what=what)


def trained(work: Unit, how: How) -> Trainer:
    trainer = Trainer(work, CPU, how)
    while not trainer.done:
        trainer.step()
    return trainer


@given(st.integers(1, 20), st.integers(1, 9))
@settings(deadline=None)
def test_shares_are_the_batch_in_order_and_as_equal_as_can_be(examples: int, devices: int) -> None:
    batch = {"windows": torch.arange(3 * examples).reshape(examples, 3), "labels": torch.arange(examples)}
    shares = shares_of(batch, devices)
    assert len(shares) == min(examples, devices)
    for name, values in batch.items():
        assert torch.equal(torch.cat([share[name] for share in shares]), values)
    sizes = [len(share["labels"]) for share in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("devices", [2, 4])
def test_a_device_for_each_part_gives_the_bits_of_one_device_with_those_parts(devices: int) -> None:
    alone = trained(unit(4), How(micro_batch=4 // devices))
    several = trained(unit(4), How(others=(CPU,) * (devices - 1)))
    assert several.losses == alone.losses
    assert np.array_equal(several.trained(), alone.trained())


@pytest.mark.parametrize(
    "what",
    [EVERYTHING, Some(PART), LowRank(Factors(PART, 2), 2.0, 3)],
    ids=["everything", "some tensors", "factors"],
)
@pytest.mark.parametrize(("batch", "devices", "micro_batch"), [(5, 2, None), (6, 3, 1), (2, 4, None), (1, 3, None)])
def test_it_is_the_same_gradient_but_for_rounding_and_repeats_exactly(
    what: WhatTrains, batch: int, devices: int, micro_batch: int | None
) -> None:
    alone = trained(unit(batch, what), How())
    how = How(others=(CPU,) * (devices - 1), micro_batch=micro_batch)
    several = trained(unit(batch, what), how)
    np.testing.assert_allclose(several.losses, alone.losses, rtol=1e-4)
    np.testing.assert_allclose(several.change(), alone.change(), rtol=0, atol=2e-3)
    again = trained(unit(batch, what), how)
    assert np.array_equal(again.trained(), several.trained())


def test_every_device_gets_a_share_and_the_parameters_of_the_moment() -> None:
    seen: list[tuple[int, int, float]] = []

    class Looking(ByteLMTask):
        def loss(self, module: nn.Module, batch: Batch) -> Loss:
            first = next(module.parameters())
            seen.append((id(module), len(next(iter(batch.values()))), float(first.detach().sum())))
            return super().loss(module, batch)

    module = build(MODEL)
    task = Looking(MODEL, b"the same line again\n" * 40)
    work = Pass(task, module, tuple(module.parameters()), CPU, 8, nullcontext, 1, 0, 6)
    across = Across((CPU, CPU))
    for shift in (0.0, 1.0):
        with torch.no_grad():
            next(module.parameters()).add_(shift)
        across.leave(work)
    assert [size for _, size, _ in seen] == [2] * 6
    assert len({number for number, _, _ in seen}) == 3
    sums = [value for _, _, value in seen]
    assert len(set(sums[:3])) == len(set(sums[3:])) == 1
    assert sums[0] != sums[3]


def test_what_a_failure_changes_in_the_module_reaches_every_device() -> None:
    seen: list[bool] = []

    class Short(ByteLMTask):
        def loss(self, module: nn.Module, batch: Batch) -> Loss:
            again = hasattr(module, "computes_again")
            seen.append(again)
            if not again and module is not whole:
                raise MemoryError("no room on this one")
            return super().loss(module, batch)

    whole = build(MODEL)
    task = Short(MODEL, b"the same line again\n" * 40)
    work = Pass(task, whole, tuple(whole.parameters()), CPU, 8, nullcontext, 1, 0, 4)
    across = Across((CPU,))
    with pytest.raises(MemoryError):
        across.leave(work)
    whole.register_buffer("computes_again", torch.ones(1))  # as compute_again puts something else into a module
    for parameter in whole.parameters():
        parameter.grad = None
    across.leave(work)
    assert seen[-2:] == [True, True]


def test_a_device_that_has_no_memory_makes_all_parts_smaller() -> None:
    said: list[str] = []
    calls: list[int] = []

    class Small(ByteLMTask):
        def loss(self, module: nn.Module, batch: Batch) -> Loss:
            size = len(next(iter(batch.values())))
            calls.append(size)
            if size > 1:
                raise MemoryError("no room")
            return super().loss(module, batch)

    small = replace(unit(4), task=Small(MODEL, b"the same line again\n" * 40))
    several = trained(small, How(others=(CPU,), say=said.append))
    assert max(calls) > 1
    assert any("memory did not suffice for" in text for text in said)
    np.testing.assert_allclose(several.losses, trained(unit(4), How()).losses, rtol=1e-4)


def test_private_gradients_are_never_shared_out() -> None:
    with pytest.raises(AssertionError, match="one device"):
        Trainer(unit(2), CPU, How(gradients=Private(0.5, 1.0, CLIP), others=(CPU,)))
    assert Plain().private is False
