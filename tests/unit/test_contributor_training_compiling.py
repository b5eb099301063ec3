"""Compiling is tried where it may pay, kept where it does, and never in the way where it fails."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from barnraise.config import TrainingConfig
from barnraise.model_config import ByteLMConfig
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training import trainer as trainer_module
from contributor.training.compiling import COMPILED_STEPS, PLAIN_STEPS, Trial, whether_to_compile
from contributor.training.how import How
from contributor.training.trainer import Trainer, Unit
from merge.architectures import build, flat_of, space_of

CPU = torch.device("cpu")
MODEL = ByteLMConfig(dim=16, layers=1, heads=2, hidden=24, context=16)


def trained(how: How, steps: int = 10) -> Trainer:
    module = build(MODEL)
    space = space_of(module)
    work = Unit(
        ByteLMTask(MODEL, b"the same line again\n" * 40),
        space,
        flat_of(module, space),
        TrainingConfig(steps=steps, batch=2),
        seed=1,
    )
    trainer = Trainer(work, CPU, how)
    while not trainer.done:
        trainer.step()
    return trainer


@given(st.floats(1e-3, 10), st.floats(1e-3, 10), st.floats(1, 1e3))
def test_the_first_compiled_steps_do_not_count(plain_s: float, compiled_s: float, compiling_s: float) -> None:
    trial = Trial()
    for _ in range(PLAIN_STEPS):
        assert not trial.compiled
        trial = trial.stepped(plain_s)
    for number in range(COMPILED_STEPS):
        assert trial.compiled
        assert trial.pays is None
        trial = trial.stepped(compiling_s if number < 2 else compiled_s)
    assert trial.pays == (compiled_s < 0.95 * plain_s)


def test_only_nvidia_s_gpus_are_tried_and_what_is_known_is_not_tried_again() -> None:
    assert [whether_to_compile(device, None) for device in ("cuda", "mps", "cpu")] == ["trial", "no", "no"]
    assert whether_to_compile("cpu", True) == "yes"
    assert whether_to_compile("cuda", False) == "no"


@pytest.mark.parametrize(("faster", "wanted"), [(True, True), (False, False)])
def test_a_trial_decides_and_gives_the_same_model(monkeypatch: pytest.MonkeyPatch, faster: bool, wanted: bool) -> None:
    compiled: list[nn.Module] = []
    clock = [0.0]

    class Stand(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
            clock[0] += -0.5 if faster else 0.5
            return self.module(tokens_BT)  # type: ignore[no-any-return]

    def stand_in(module: nn.Module, backend: str) -> nn.Module:
        compiled.append(module)
        return Stand(module)

    def now_s() -> float:
        clock[0] += 1.0
        return clock[0]

    monkeypatch.setattr(torch, "compile", stand_in)
    monkeypatch.setattr(trainer_module.time, "perf_counter", now_s)
    said: list[str] = []
    trainer = trained(How(compile="trial", say=said.append))
    assert trainer.compile_pays is wanted
    assert len(compiled) == 1
    assert said == [
        f"the model {'stays compiled' if faster else 'is not compiled: that would not pay'}; a step takes 1.000 s "
        f"plain and {0.5 if faster else 1.5:.3f} s compiled"
    ]
    assert np.array_equal(trainer.trained(), trained(How()).trained())


def test_what_cannot_be_compiled_trains_without_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(nn.Module):
        def forward(self, *_: object) -> torch.Tensor:
            raise RuntimeError("no C++ compiler was found")

    monkeypatch.setattr(torch, "compile", lambda _module, backend: Broken())
    said: list[str] = []
    trainer = trained(How(compile="yes", say=said.append))
    assert said == ["torch.compile failed, the model trains without: no C++ compiler was found"]
    assert trainer.compile_pays is False
    assert np.array_equal(trainer.trained(), trained(How()).trained())


def test_torch_s_own_compiler_is_asked() -> None:
    whole = trained(How(compile="yes", backend="eager"), steps=2)
    assert np.allclose(whole.trained(), trained(How(), steps=2).trained(), atol=1e-6)
