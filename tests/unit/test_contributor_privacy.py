"""Private training: clipped, noisy, drawn in secret, paid for before it begins, and stopped when all is spent."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barnraise.config import TrainingConfig
from barnraise.errors import BudgetSpentError, ConfigValueError, UsageError, VerificationError
from barnraise.model_config import ByteLMConfig
from contributor.folder import NodeFolder
from contributor.privacy.accountant import epsilon_of
from contributor.privacy.beginning import Privacy, without_traces
from contributor.privacy.budget import Budget, Choice, load_budget, save_budget
from contributor.privacy.gradients import Private
from contributor.privacy.noise import SecretStream
from contributor.state import KeptMoments, NodeState
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.accumulate import Pass
from contributor.training.how import How
from contributor.training.trainer import Trainer, Unit
from merge.architectures import build, flat_of, space_of

CPU = torch.device("cpu")
MODEL = ByteLMConfig(dim=16, layers=1, heads=2, hidden=24, context=16)
TEXT = bytes(np.random.default_rng(5).integers(0, 256, 17 * 300, dtype=np.uint8))
KEY = bytes(range(32))
LEASE = "a" * 32


def gradient(rule: Private, text: bytes = TEXT) -> NDArray[np.float32]:
    """What one step leaves in the parameters, float32, flat."""
    task, module = ByteLMTask(MODEL, text), build(MODEL)
    parameters = tuple(module.parameters())
    rule.leave(Pass(task, module, parameters, CPU, 8, lambda: torch.autocast("cpu", enabled=False), 1, 0, 8))
    return np.concatenate([p.grad.flatten().numpy() for p in parameters if p.grad is not None])


def unit(steps: int = 3) -> Unit:
    module = build(MODEL)
    space = space_of(module)
    training = TrainingConfig(steps=steps, batch=8, warmup_steps=0)
    return Unit(ByteLMTask(MODEL, TEXT), space, flat_of(module, space), training, seed=1)


def trained(how: How) -> Trainer:
    trainer = Trainer(unit(), CPU, how)
    while not trainer.done:
        trainer.step()
    return trainer


# -- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [0.01, 0.1, 10.0])
def test_leaving_one_example_out_moves_the_sum_by_no_more_than_the_clip(clip: float) -> None:
    with_it, without = (
        gradient(Private(1.0, 0.0, clip), text) * len(text) / 17 for text in (TEXT[: 17 * 9], TEXT[: 17 * 8])
    )
    assert 0 < np.linalg.norm(with_it - without) <= clip * (1 + 1e-5)


def test_without_noise_and_clipping_it_is_the_gradient_of_all_examples() -> None:
    task, module = ByteLMTask(MODEL, TEXT), build(MODEL)
    found = task.loss(module, task.pick(np.arange(task.examples)))
    (found.total / found.count).backward()  # type: ignore[no-untyped-call]
    whole = np.concatenate([p.grad.flatten().numpy() for p in module.parameters() if p.grad is not None])
    np.testing.assert_allclose(gradient(Private(1.0, 0.0, 1e9)), whole, rtol=1e-3, atol=1e-7)


def test_noise_has_the_size_that_is_paid_for() -> None:
    rate, noise, clip = 8 / 300, 3.0, 0.5
    quiet = gradient(Private(rate, 0.0, clip, SecretStream(KEY)))
    noisy = gradient(Private(rate, noise, clip, SecretStream(KEY)))
    size = (noisy - quiet) * 8
    assert size.std() == pytest.approx(noise * clip, rel=0.02)
    assert abs(size.mean()) < 4 * noise * clip / math.sqrt(size.size)


def test_an_example_whose_gradient_is_not_finite_counts_as_none() -> None:
    class Odd(ByteLMTask):
        def loss(self, module: Any, batch: Any) -> Any:
            found = super().loss(module, batch)
            return replace(found, total=found.total * (math.nan if batch["windows"][0, 0] == TEXT[0] else 1.0))

    task, module = Odd(MODEL, TEXT), build(MODEL)
    parameters = tuple(module.parameters())
    work = Pass(task, module, parameters, CPU, 8, lambda: torch.autocast("cpu", enabled=False), 1, 0, 8)
    Private(1.0, 0.0, 1.0).leave(work)
    assert all(torch.isfinite(p.grad).all() for p in parameters if p.grad is not None)


def test_neither_noise_nor_sampling_follows_from_the_lease() -> None:
    one, other = (trained(How(gradients=Private(8 / 300, 1.0, 1.0))) for _ in range(2))
    assert not np.array_equal(one.trained(), other.trained())


def test_losses_of_private_steps_do_not_leave_the_machine() -> None:
    private, plain = trained(How(gradients=Private(8 / 300, 1.0, 1.0))), trained(How())
    assert private.stated_losses == [0.0, 0.0, 0.0] != private.losses
    assert plain.stated_losses == plain.losses


# -- numbers in secret ---------------------------------------------------------------------------


def test_two_streams_differ_and_one_goes_on() -> None:
    assert not np.array_equal(SecretStream().uniform(8), SecretStream().uniform(8))
    assert np.array_equal(SecretStream(KEY).normal(9), SecretStream(KEY).normal(9))
    stream = SecretStream(KEY)
    assert not np.array_equal(stream.uniform(8), stream.uniform(8))


def test_the_numbers_are_uniform_and_normal() -> None:
    uniform, normal = SecretStream(KEY).uniform(200_000), SecretStream(KEY).normal(600_001).astype(np.float64)
    assert uniform.min() >= 0 and uniform.max() < 1  # noqa: PT018
    assert np.abs(np.histogram(uniform, 10, (0, 1))[0] / 20_000 - 1).max() < 0.03
    assert abs(normal.mean()) < 0.006
    assert normal.std() == pytest.approx(1, abs=0.006)
    assert (normal**4).mean() == pytest.approx(3, abs=0.06)
    assert np.mean(np.abs(normal) > 1.959964) == pytest.approx(0.05, abs=0.002)
    assert abs(np.corrcoef(normal[:-1], normal[1:])[0, 1]) < 0.006


# -- what is spent -------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    epsilon=st.floats(0.5, 16),
    units=st.integers(1, 40),
    story=st.lists(st.tuples(st.integers(1, 64), st.integers(1, 40)), min_size=1, max_size=15),
)
def test_no_story_of_leases_goes_past_the_epsilon(epsilon: float, units: int, story: list[tuple[int, int]]) -> None:
    budget, examples = Budget.begin(Choice(epsilon, 1e-5, units)), 5_000
    for number, (batch, steps) in enumerate(story):
        try:
            budget = budget.charged(f"{number:032x}", examples, batch, steps)
        except BudgetSpentError:
            break
        assert budget.epsilon_spent() <= epsilon
        assert epsilon_of((part.spent for part in budget.spent), 1e-5) == budget.epsilon_spent()


def test_the_budget_lasts_for_as_many_units_as_were_chosen_and_hardly_more() -> None:
    budget, done = Budget.begin(Choice(4.0, 1e-5, 25)), 0
    refused = ""
    while not refused:
        try:
            budget = budget.charged(f"{done:032x}", 10_000, 8, 12)
            done += 1
        except BudgetSpentError as error:
            refused = str(error)
    assert 25 <= done <= 27
    assert len(budget.spent) == 1
    assert refused.startswith(
        f"of the epsilon of 4 (delta 1e-05) {budget.epsilon_spent():.3f} is spent, and a unit of 12"
    )


def test_a_lease_is_charged_once() -> None:
    once = Budget.begin(Choice(4.0)).charged(LEASE, 10_000, 8, 12)
    assert once.charged(LEASE, 10_000, 8, 12) is once


def test_a_larger_choice_goes_on_from_what_is_spent() -> None:
    spent = Budget.begin(Choice(1.0, 1e-5, 1)).charged(LEASE, 10_000, 8, 12)
    more = spent.chosen_anew(Choice(4.0, 1e-5, 10))
    assert more.epsilon_spent() == spent.epsilon_spent() > 0
    assert more.charged("b" * 32, 10_000, 8, 12).epsilon_spent() <= 4.0
    with pytest.raises(BudgetSpentError, match="is spent already"):
        spent.chosen_anew(Choice(0.5, 1e-5, 1)).charged("b" * 32, 10_000, 8, 12)


def test_a_delta_that_would_allow_to_publish_an_example_is_refused() -> None:
    with pytest.raises(BudgetSpentError, match=r"Choose one below 1\.0e-03, such as --private 8,1e-04"):
        Budget.begin(Choice(8.0, 0.01)).charged(LEASE, 1_000, 8, 12)


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "8,2", "8,1e-5,0", "8,1e-5,3,4", "nan", "inf"])
def test_a_choice_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="such as 8 or 8,1e-5,100"):
        Choice.parse(text)


def test_a_choice_is_read() -> None:
    assert Choice.parse("8") == Choice(8.0, 1e-5, 100)
    assert Choice.parse("3,1e-6,20") == Choice(3.0, 1e-6, 20)


# -- in the node's folder ------------------------------------------------------------------------


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> NodeFolder:
    return NodeFolder(tmp_path)


def test_what_is_spent_is_on_the_disk_before_a_unit_begins(folder: NodeFolder) -> None:
    said: list[str] = []
    privacy = Privacy.of(folder, Choice(8.0), said.append)
    assert privacy is not None
    how = privacy.how(How(), _lease(), ByteLMTask(MODEL, TEXT))
    kept = load_budget(folder.root / "privacy.json")
    assert kept == privacy.budget
    assert kept is not None
    assert isinstance(how.gradients, Private)
    assert (how.gradients.noise, how.gradients.rate) == (kept.noise, 8 / 300)
    assert "is spent, with noise of" in said[-1]
    again = Privacy.of(folder, Choice(8.0), said.append)
    assert again is not None
    again.how(How(), _lease(), ByteLMTask(MODEL, TEXT))
    assert load_budget(folder.root / "privacy.json") == kept


def test_before_privacy_begins_what_holds_examples_is_forgotten(folder: NodeFolder) -> None:
    vector = folder.store.put(np.ones(3, dtype=np.float32).tobytes())
    moments = KeptMoments(steps=1, first=vector, second=vector, beta1=0.9, beta2=0.99, clip_grad_norm=1.0)
    folder.commit(NodeState(residuals=(vector,), moments=moments))
    folder.checkpoint.write_bytes(b"a unit that was stopped")
    Privacy.of(folder, Choice(8.0), lambda _text: None)
    assert folder.load() == NodeState()
    assert not folder.checkpoint.exists()
    assert without_traces(folder.load()) == folder.load()
    folder.commit(NodeState(residuals=(folder.store.put(np.ones(3, dtype=np.float32).tobytes()),)))  # of a private unit
    Privacy.of(folder, Choice(8.0), lambda _text: None)
    assert folder.load().residuals != ()


def test_a_folder_of_private_units_does_not_forget_to_be_private(folder: NodeFolder) -> None:
    assert Privacy.of(folder, None, lambda _text: None) is None
    Privacy.of(folder, Choice(8.0), lambda _text: None)
    with pytest.raises(ConfigValueError, match=r"Join with --private 8 as before.*remove .*privacy.json"):
        Privacy.of(folder, None, lambda _text: None)


def test_an_altered_account_is_not_trusted(folder: NodeFolder) -> None:
    path = folder.root / "privacy.json"
    save_budget(path, Budget.begin(Choice(8.0)))
    path.write_bytes(json.dumps({**json.loads(path.read_bytes()), "noise": "much"}).encode())
    with pytest.raises(VerificationError, match="is not an account of privacy"):
        Privacy.of(folder, Choice(8.0), lambda _text: None)


def _lease() -> Any:
    class Leased:
        lease_id = LEASE
        training = TrainingConfig(steps=3, batch=8)

    return Leased()
