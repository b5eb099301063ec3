"""Training a unit: it learns, it repeats, and an interruption leaves no trace in the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from barnraise.config import ModelConfig, TrainingConfig
from barnraise.errors import ConfigValueError, NonFiniteUpdateError
from contributor.checkpoint import load_checkpoint, save_checkpoint
from contributor.trainer import Trainer, Unit
from merge.architectures import build, flat_of, space_of

CPU = torch.device("cpu")
MODEL = ModelConfig(dim=16, layers=1, heads=2, hidden=24, context=16)
LEASE, OTHER_LEASE = "a" * 32, "b" * 32


def unit(steps: int = 6, seed: int = 1, text: bytes = b"the same line again\n" * 40, rate: float = 1e-2) -> Unit:
    module = build(MODEL)
    space = space_of(module)
    training = TrainingConfig(steps=steps, batch=2, warmup_steps=2, learning_rate=rate, weight_decay=0.1)
    return Unit(MODEL, space, flat_of(module, space), text, training, seed)


def run(trainer: Trainer, steps: int | None = None) -> Trainer:
    while not trainer.done and (steps is None or len(trainer.losses) < steps):
        trainer.step()
    return trainer


def test_the_loss_falls() -> None:
    trainer = run(Trainer(unit(steps=30), CPU))
    assert trainer.losses[0] == pytest.approx(8.0, abs=0.1)
    assert trainer.losses[-1] < 6.0
    assert len(trainer.losses) == 30


def test_a_unit_repeats_exactly_and_another_seed_does_not() -> None:
    first = run(Trainer(unit(), CPU)).trained()
    assert np.array_equal(run(Trainer(unit(), CPU)).trained(), first)
    assert not np.array_equal(run(Trainer(unit(seed=2), CPU)).trained(), first)


@pytest.mark.parametrize("stop_after", [1, 3, 6])
def test_a_unit_continued_from_a_checkpoint_has_the_same_bits(tmp_path: Path, stop_after: int) -> None:
    whole = run(Trainer(unit(), CPU))
    first = run(Trainer(unit(), CPU), stop_after)
    save_checkpoint(tmp_path / "checkpoint", LEASE, unit().space, first.progress())
    progress = load_checkpoint(tmp_path / "checkpoint", LEASE, unit().space)
    assert progress is not None
    second = Trainer(unit(), CPU)
    second.restore(progress)
    assert run(second).losses == whole.losses
    assert np.array_equal(second.trained(), whole.trained())


def test_a_checkpoint_belongs_to_one_lease_and_one_space(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    save_checkpoint(path, LEASE, unit().space, run(Trainer(unit(), CPU), 2).progress())
    assert load_checkpoint(path, OTHER_LEASE, unit().space) is None
    assert load_checkpoint(path, LEASE, space_of(build(MODEL.model_copy(update={"layers": 2})))) is None
    assert load_checkpoint(tmp_path / "missing", LEASE, unit().space) is None


@pytest.mark.parametrize("damage", [slice(0, 0), slice(0, 9), slice(0, 400), slice(0, -1)])
def test_a_damaged_checkpoint_is_not_used(tmp_path: Path, damage: slice) -> None:
    path = tmp_path / "checkpoint"
    save_checkpoint(path, LEASE, unit().space, run(Trainer(unit(), CPU), 2).progress())
    path.write_bytes(path.read_bytes()[damage])
    assert load_checkpoint(path, LEASE, unit().space) is None


def test_the_fisher_is_the_mean_square_of_the_gradients() -> None:
    work = unit(steps=1)
    trainer = run(Trainer(work, CPU))
    once_P = trainer.fisher()
    # One step: AdamW's first moment is (1 - beta1) times the gradient, its second (1 - beta2) times the square.
    gradient_P = trainer.progress().first_P / np.float32(1 - work.training.beta1)
    np.testing.assert_allclose(once_P, gradient_P**2, rtol=1e-4)
    assert (once_P > 0).any()


def test_the_fisher_does_not_grow_with_the_number_of_steps() -> None:
    short_P, long_P = (run(Trainer(unit(steps=steps, rate=1e-9), CPU)).fisher() for steps in (4, 40))
    assert np.isfinite(long_P).all()
    assert (long_P >= 0).all()
    assert long_P.mean() == pytest.approx(short_P.mean(), rel=0.3)


def test_a_continued_unit_has_the_same_fisher() -> None:
    whole = run(Trainer(unit(), CPU))
    first, second = run(Trainer(unit(), CPU), 3), Trainer(unit(), CPU)
    second.restore(first.progress())
    assert np.array_equal(run(second).fisher(), whole.fisher())


def test_the_base_is_left_alone() -> None:
    work = unit()
    before_P = work.base_P.copy()
    work.base_P.flags.writeable = False
    run(Trainer(work, CPU))
    assert np.array_equal(work.base_P, before_P)


def test_a_text_shorter_than_a_window_is_refused() -> None:
    Trainer(unit(text=b"x" * 17), CPU).step()
    with pytest.raises(ConfigValueError, match="16 bytes of text, a window needs 17"):
        Trainer(unit(text=b"x" * 16), CPU)


def test_divergence_is_an_error_with_advice() -> None:
    work = unit()
    work.base_P[:] = np.nan
    with pytest.raises(NonFiniteUpdateError, match=r"loss of step 1 is nan.*lower training.learning_rate"):
        Trainer(work, CPU).step()
