"""Training a unit: it learns, it repeats, and an interruption leaves no trace in the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barnraise.config import TrainingConfig
from barnraise.digest import digest_json
from barnraise.errors import ConfigValueError, NonFiniteUpdateError
from barnraise.model_config import ByteLMConfig
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.checkpoint import load_checkpoint, save_checkpoint
from contributor.training.trainer import Moments, Trainer, Unit
from merge.architectures import build, flat_of, load_flat, space_of

CPU = torch.device("cpu")
MODEL = ByteLMConfig(dim=16, layers=1, heads=2, hidden=24, context=16)
TEXT = b"the same line again\n" * 40
LEASE, OTHER_LEASE = "a" * 32, "b" * 32


def unit(steps: int = 6, seed: int = 1, text: bytes = TEXT, rate: float = 1e-2) -> Unit:
    module = build(MODEL)
    space = space_of(module)
    training = TrainingConfig(steps=steps, batch=2, warmup_steps=2, learning_rate=rate, weight_decay=0.1)
    return Unit(ByteLMTask(MODEL, text), space, flat_of(module, space), training, seed)


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


def test_a_checkpoint_of_another_version_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    save_checkpoint(path, LEASE, unit().space, run(Trainer(unit(), CPU), 2).progress())
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata, vectors = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del metadata["adamw-steps"], metadata["check"]
    path.write_bytes(safetensors.numpy.save(vectors, metadata | {"check": digest_json(metadata)}))
    assert load_checkpoint(path, LEASE, unit().space) is None


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


# -- moments from unit to unit -------------------------------------------------------------


def after(trainer: Trainer, work: Unit) -> Unit:
    """``work``, from where ``trainer`` ended and with its moments."""
    return replace(work, base_P=trainer.trained(), moments=trainer.moments())


def plain_adamw(work: Unit, seeds_and_steps: list[tuple[int, int]]) -> tuple[NDArray[np.float32], Moments]:
    """One AdamW, written down again, over the batches of several units; weights and moments."""
    module = build(MODEL)
    load_flat(module, work.space, work.base_P)
    training, text, width = work.training, np.frombuffer(TEXT, dtype=np.uint8), MODEL.context + 1
    decayed = [{"params": [p], "weight_decay": training.weight_decay * (p.dim() > 1)} for p in module.parameters()]
    optimiser = torch.optim.AdamW(decayed, lr=training.learning_rate, betas=(training.beta1, training.beta2))
    for seed, steps in seeds_and_steps:
        for index in range(steps):
            starts = np.random.default_rng([seed, index]).integers(0, len(text) - width + 1, size=training.batch)
            optimiser.zero_grad()
            module.loss(torch.from_numpy(text[starts[:, None] + np.arange(width)])).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), training.clip_grad_norm)
            optimiser.step()
    firsts, seconds = (
        work.space.flatten({name: optimiser.state[p][which].numpy() for name, p in module.named_parameters()})
        for which in ("exp_avg", "exp_avg_sq")
    )
    return flat_of(module, work.space), Moments(sum(steps for _, steps in seeds_and_steps), firsts, seconds)


def same(found: Moments, wanted: Moments) -> bool:
    vectors = [(found.first_P, wanted.first_P), (found.second_P, wanted.second_P)]
    return found.steps == wanted.steps and all(np.array_equal(one, other) for one, other in vectors)


@settings(max_examples=15, deadline=None)
@given(
    units=st.lists(st.tuples(st.integers(0, 99), st.integers(1, 4)), min_size=1, max_size=3),
    beta1=st.sampled_from([0.5, 0.9]),
    beta2=st.sampled_from([0.9, 0.99]),
)
def test_units_with_kept_moments_are_one_run_of_adamw(units: list[tuple[int, int]], beta1: float, beta2: float) -> None:
    work = unit()
    work = replace(work, training=work.training.model_copy(update={"warmup_steps": 0, "beta1": beta1, "beta2": beta2}))
    now, trainer = work, None
    for seed, steps in units:
        training = work.training.model_copy(update={"steps": steps})
        trainer = run(Trainer(replace(now, training=training, seed=seed), CPU))
        now = after(trainer, now)
    assert trainer is not None
    model_P, moments = plain_adamw(work, units)
    assert np.array_equal(trainer.trained(), model_P)
    assert same(trainer.moments(), moments)
    corrected_P = moments.second_P / np.float32(1.0 - beta2**moments.steps)
    assert np.array_equal(trainer.fisher(), corrected_P)


def test_kept_moments_make_a_difference_and_none_is_as_before() -> None:
    first = run(Trainer(unit(), CPU))
    kept = run(Trainer(after(first, unit(seed=2)), CPU))
    anew = run(Trainer(replace(after(first, unit(seed=2)), moments=None), CPU))
    assert kept.losses[0] == anew.losses[0]
    assert not np.array_equal(kept.trained(), anew.trained())
    plain_P, _ = plain_adamw(_without_warmup(replace(unit(seed=2), base_P=first.trained())), [(2, 6)])
    assert np.array_equal(
        run(Trainer(_without_warmup(replace(after(first, unit(seed=2)), moments=None)), CPU)).trained(), plain_P
    )


def _without_warmup(work: Unit) -> Unit:
    return replace(work, training=work.training.model_copy(update={"warmup_steps": 0}))


def test_every_unit_warms_up_also_with_moments() -> None:
    first = run(Trainer(unit(), CPU))
    second = Trainer(after(first, unit(seed=2)), CPU)
    second.step()
    warm_P = np.abs(second.trained() - first.trained())
    straight = Trainer(_without_warmup(after(first, unit(seed=2))), CPU)
    straight.step()
    straight_P = np.abs(straight.trained() - first.trained())
    assert warm_P.sum() == pytest.approx(straight_P.sum() / 2, rel=1e-3)


@pytest.mark.parametrize("stop_after", [1, 3, 6])
def test_a_unit_that_began_with_moments_continues_with_the_same_bits(tmp_path: Path, stop_after: int) -> None:
    work = after(run(Trainer(unit(), CPU)), unit(seed=2))
    whole = run(Trainer(work, CPU))
    save_checkpoint(tmp_path / "checkpoint", LEASE, work.space, run(Trainer(work, CPU), stop_after).progress())
    progress = load_checkpoint(tmp_path / "checkpoint", LEASE, work.space)
    assert progress is not None
    assert (progress.step, len(progress.losses)) == (6 + stop_after, stop_after)
    for moments in (work.moments, None):  # those of the checkpoint count
        second = Trainer(replace(work, moments=moments), CPU)
        second.restore(progress)
        assert run(second).losses == whole.losses
        assert np.array_equal(second.trained(), whole.trained())
        assert np.array_equal(second.fisher(), whole.fisher())
        assert same(second.moments(), whole.moments())


def test_progress_without_losses_begins_a_unit_with_its_moments() -> None:
    first = run(Trainer(unit(), CPU))
    work = after(first, unit(seed=2))
    second = Trainer(replace(work, moments=None), CPU)
    second.restore(replace(first.progress(), losses=()))
    assert np.array_equal(run(second).trained(), run(Trainer(work, CPU)).trained())


def test_the_fisher_of_kept_moments_does_not_grow_with_the_number_of_units() -> None:
    work = unit(steps=4, rate=1e-9)
    trainer = first = run(Trainer(work, CPU))
    for seed in range(2, 12):
        trainer = run(Trainer(after(trainer, replace(work, seed=seed)), CPU))
    assert trainer.moments().steps == 44
    assert trainer.fisher().mean() == pytest.approx(first.fisher().mean(), rel=0.3)


def test_the_moments_of_a_unit_are_left_alone() -> None:
    work = after(run(Trainer(unit(), CPU)), unit(seed=2))
    assert work.moments is not None
    before = Moments(work.moments.steps, work.moments.first_P.copy(), work.moments.second_P.copy())
    work.moments.first_P.flags.writeable = work.moments.second_P.flags.writeable = False
    run(Trainer(work, CPU))
    assert same(work.moments, before)


# -- faults --------------------------------------------------------------------------------


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
