"""A step that does not fit into memory is done in smaller parts, and comes to the same."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from barnraise.config import TrainingConfig
from barnraise.errors import NotEnoughMemoryError
from barnraise.model_config import ByteLMConfig
from contributor.tasks import Batch, Loss
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.accumulate import Pass, Plain, parts_of
from contributor.training.blocks import compute_again, repeated_blocks
from contributor.training.how import How
from contributor.training.memory import asked_bytes, free_bytes, is_out_of_memory
from contributor.training.trainer import Trainer, Unit
from merge.architectures import build, flat_of, space_of

CPU = torch.device("cpu")
MODEL = ByteLMConfig(dim=16, layers=2, heads=2, hidden=24, context=16)
TEXT = bytes(np.random.default_rng(3).integers(0, 256, 900, dtype=np.uint8))
CPU_SAYS = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes. Error code 12"


class Scarce(ByteLMTask):
    """A task on a machine where so many examples fit at once; ``fits`` may change from call to call."""

    def __init__(self, fits: Callable[[int], int], error: Callable[[], Exception]) -> None:
        super().__init__(MODEL, TEXT)
        self.fits, self.error, self.calls = fits, error, 0

    def loss(self, module: Any, batch: Batch) -> Loss:
        self.calls += 1
        if len(batch["windows"]) > self.fits(self.calls):
            raise self.error()
        return super().loss(module, batch)


def unit(batch: int = 8, steps: int = 4, task: ByteLMTask | None = None) -> Unit:
    module = build(MODEL)
    space = space_of(module)
    training = TrainingConfig(steps=steps, batch=batch, warmup_steps=0, learning_rate=1e-2)
    return Unit(task or ByteLMTask(MODEL, TEXT), space, flat_of(module, space), training, seed=1)


def run(trainer: Trainer) -> Trainer:
    while not trainer.done:
        trainer.step()
    return trainer


def gradient(batch: int, size: int) -> tuple[float, np.ndarray[Any, np.dtype[np.float32]]]:
    task, module = ByteLMTask(MODEL, TEXT), build(MODEL)
    parameters = tuple(module.parameters())
    work = Pass(task, module, parameters, CPU, size, lambda: torch.autocast("cpu", enabled=False), 1, 0, batch)
    nats = Plain().leave(work)
    return nats, np.concatenate([p.grad.flatten().numpy() for p in parameters if p.grad is not None])


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 9), size=st.integers(1, 9))
def test_a_step_does_not_depend_on_how_it_is_cut(batch: int, size: int) -> None:
    whole, cut = gradient(batch, batch), gradient(batch, min(size, batch))
    assert cut[0] == pytest.approx(whole[0], rel=1e-5)
    np.testing.assert_allclose(cut[1], whole[1], rtol=2e-3, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 30), size=st.integers(1, 40))
def test_parts_are_the_batch_in_order(batch: int, size: int) -> None:
    examples = {"x": torch.arange(batch), "y": torch.arange(2 * batch).view(batch, 2)}
    parts = list(parts_of(examples, size))
    assert all(1 <= len(part["x"]) <= size for part in parts)
    for name, values in examples.items():
        assert torch.equal(torch.cat([part[name] for part in parts]), values)


ERRORS = [
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
    lambda: RuntimeError(CPU_SAYS),
    lambda: RuntimeError("MPS backend out of memory (MPS allocated: 1 GB). Tried to allocate 256 bytes"),
    MemoryError,
]


@pytest.mark.parametrize("error", ERRORS)
def test_a_step_that_does_not_fit_is_halved_until_it_does(error: Callable[[], Exception]) -> None:
    said: list[str] = []
    work = unit(task=Scarce(lambda _call: 3, error))
    found = run(Trainer(work, CPU, How(say=said.append)))
    wanted = run(Trainer(unit(), CPU, How(micro_batch=2)))
    assert said == [
        "memory did not suffice for 8 examples at once, now it is 4",
        "memory did not suffice for 4 examples at once, now it is 2",
    ]
    assert found.micro_batch == 2
    assert np.array_equal(found.trained(), wanted.trained())
    assert found.losses == wanted.losses


def test_memory_that_goes_in_the_middle_of_a_step_leaves_no_trace() -> None:
    # Call 1 is step 1, call 2 step 2; then another program comes and only one example fits from the third call on,
    # the second part of a step among them.
    work = unit(task=Scarce(lambda call: 8 if call <= 2 else 4 if call == 4 else 1, MemoryError))
    found = run(Trainer(work, CPU))
    plain = run(Trainer(unit(), CPU))
    assert found.losses[:2] == plain.losses[:2]
    assert found.losses == pytest.approx(plain.losses, rel=1e-4)
    assert np.abs(found.trained() - plain.trained()).max() < 1e-3


def test_the_governor_s_limit_holds_and_goes() -> None:
    seen: list[int] = []

    class Watched(ByteLMTask):
        def loss(self, module: Any, batch: Batch) -> Loss:
            seen.append(len(batch["windows"]))
            return super().loss(module, batch)

    trainer = Trainer(unit(task=Watched(MODEL, TEXT)), CPU)
    trainer.limit(4)
    assert trainer.micro_batch == 4
    trainer.step()
    trainer.limit(None)
    trainer.step()
    assert seen == [4, 4, 8]


def test_one_example_that_does_not_fit_has_activations_computed_again_then_an_error_with_numbers() -> None:
    said: list[str] = []
    trainer = Trainer(unit(batch=2, task=Scarce(lambda _call: 0, ERRORS[1])), CPU, How(say=said.append))
    with pytest.raises(NotEnoughMemoryError, match=r"asked for 64 bytes more memory on cpu, [\d,]+ bytes are free"):
        trainer.step()
    assert said[-1] == "memory did not suffice for one example: activations are computed again instead of kept"
    assert trainer.losses == []


def test_an_error_that_is_not_of_memory_is_not_hidden() -> None:
    def wrong() -> Exception:
        return RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        Trainer(unit(task=Scarce(lambda _call: 0, wrong)), CPU).step()


# -- activations computed again ---------------------------------------------------------------


def test_computing_activations_again_gives_the_same_bits() -> None:
    kept, again = run(Trainer(unit(), CPU)), run(Trainer(unit(), CPU, How(compute_again=True)))
    assert np.array_equal(kept.trained(), again.trained())
    assert kept.losses == again.losses


def test_fewer_activations_are_kept() -> None:
    def kept_bytes(again: bool) -> int:
        deep = MODEL.model_copy(update={"layers": 8})
        module, task, total = build(deep), ByteLMTask(deep, TEXT), 0
        if again:
            compute_again(module)

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            task.loss(module, task.batch(1, 0, 4))
        return total

    assert kept_bytes(again=True) < kept_bytes(again=False) / 2


def test_blocks_are_the_outermost_repeated_members() -> None:
    assert len(repeated_blocks(build(MODEL))) == MODEL.layers
    assert repeated_blocks(nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))) == []
    inner = nn.Sequential(*[nn.Sequential(nn.Linear(1, 1), nn.ReLU()) for _ in range(3)])
    assert repeated_blocks(nn.ModuleDict({"body": inner})) == list(inner)


# -- what exceptions say ------------------------------------------------------------------------


def test_how_much_was_asked_for_is_read_from_what_the_allocators_say() -> None:
    assert [asked_bytes(error()) for error in ERRORS] == [2 << 30, 64, 256, None]
    assert all(is_out_of_memory(error()) for error in ERRORS)
    assert not is_out_of_memory(ValueError("out of memory"))
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))  # of a file that is mapped
    assert not is_out_of_memory(OSError(errno.EIO, "Input/output error"))
    free = free_bytes(CPU)
    assert free is not None
    assert free > 0


REAL = """
import resource
import psutil
import torch
from barnraise.config import TrainingConfig
from barnraise.model_config import ByteLMConfig
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.how import How
from contributor.training.trainer import Trainer, Unit
from merge.architectures import build, flat_of, space_of
torch.set_num_threads(1)
model = ByteLMConfig(dim=64, layers=2, heads=2, hidden=64, context=128)
module = build(model)
space = space_of(module)
task, base_P = ByteLMTask(model, bytes(1000)), flat_of(module, space)
Trainer(Unit(task, space, base_P, TrainingConfig(batch=1), 1), torch.device("cpu")).step()
said = []
trainer = Trainer(Unit(task, space, base_P, TrainingConfig(batch=32), 1), torch.device("cpu"), How(say=said.append))
limit = psutil.Process().memory_info().vms + (24 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
trainer.step()
print(trainer.micro_batch, said[0])
"""


def test_a_real_allocation_that_fails_is_survived() -> None:
    done = subprocess.run([sys.executable, "-c", REAL], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    size, said = done.stdout.split(maxsplit=1)
    assert 1 <= int(size) < 32
    assert said.startswith("memory did not suffice for 32 examples at once, now it is 16")


def test_a_unit_with_moments_goes_on_however_it_is_cut() -> None:
    first = run(Trainer(unit(), CPU))
    more = replace(unit(), base_P=first.trained(), moments=first.moments())
    whole, cut = run(Trainer(more, CPU)), run(Trainer(more, CPU, How(micro_batch=3)))
    assert np.abs(whole.trained() - cut.trained()).max() < 1e-3
