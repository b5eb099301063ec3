"""One unit of work: H inner AdamW steps from the base, on the examples of one shard.

The batch of step i follows from the lease's seed and i alone, so there is no data position
to remember: a unit continued from a checkpoint sees exactly the examples that it would have
seen uninterrupted. On the CPU the result has the same bits.

A unit may begin with the moments that AdamW had at the end of an earlier one. AdamW's count of
steps then goes on, as the correction of its moments needs it to; warm-up and batches count the
steps of this unit.

P  elements of what trains: of the whole parameter space, or of a part
"""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from barnraise.config import TrainingConfig
from barnraise.errors import NonFiniteUpdateError, NotEnoughMemoryError
from barnraise.updates.space import ParameterSpace
from contributor.tasks import Task
from contributor.training.accumulate import Gradients, Pass
from contributor.training.across import Across
from contributor.training.blocks import compute_again
from contributor.training.compiling import Compiling
from contributor.training.how import How
from contributor.training.memory import asked_bytes, free_bytes, is_out_of_memory, let_go
from contributor.training.micro_batch import MicroBatch
from contributor.training.trainable import EVERYTHING, Trainable, WhatTrains
from merge.architectures import load_flat

__all__ = ["Moments", "Progress", "Trainer", "Unit"]


@dataclass(frozen=True)
class Moments:
    """What AdamW remembers of the gradients so far.

    Attributes:
        steps: that it has taken, at least one.
        first_P, second_P: float32 [P], running averages of gradients and of their squares, not corrected
            for their start at zero.
    """

    steps: int
    first_P: NDArray[np.float32]
    second_P: NDArray[np.float32]


@dataclass(frozen=True)
class Unit:
    """Everything that decides what a unit's result is.

    Attributes:
        task: module, examples and loss.
        base_P: float32, flat, of the whole space: where training starts.
        seed: of the order of the data.
        moments: that AdamW begins with, from earlier units; None to begin without.
        what: trains; everything, if the lease says nothing else.
    """

    task: Task
    space: ParameterSpace
    base_P: NDArray[np.float32]
    training: TrainingConfig
    seed: int
    moments: Moments | None = None
    what: WhatTrains = EVERYTHING


@dataclass(frozen=True)
class Progress:
    """A unit in the middle: enough to continue it.

    Attributes:
        step: AdamW's steps so far, those of earlier units too. losses: in bits, of each step of this unit.
        model_P, first_P, second_P: float32 [P]; AdamW's moments are first and second.
    """

    step: int
    losses: tuple[float, ...]
    model_P: NDArray[np.float32]
    first_P: NDArray[np.float32]
    second_P: NDArray[np.float32]


class Trainer:
    """Trains one unit, a step at a time.

    Attributes:
        losses: training loss of every step done, in bits per byte, or whatever the task's unit is.
    """

    def __init__(self, unit: Unit, device: torch.device, how: How | None = None) -> None:
        """Build the model on ``device``, at the base, with AdamW's moments where the unit has some."""
        self.losses: list[float] = []
        self._unit = unit
        self._device = device
        self._how = how or How()
        assert not (self._how.others and self._how.gradients.private), "private gradients come from one device"
        self._gradients: Gradients = Across(self._how.others) if self._how.others else self._how.gradients
        self._module = unit.task.module()
        load_flat(self._module, unit.space, unit.base_P)
        self._module.to(device).train()
        self._trainable = unit.what.prepare(self._module, unit.space, unit.base_P)
        self._parameters = tuple(self._trainable.parameters.values())
        self._optimiser = _adamw(self._trainable, unit.training, device)
        self._search = MicroBatch.begin(unit.training.batch, self._how.micro_batch)
        self._computes_again = False
        if self._how.compute_again:
            self._compute_again()
        self._compiling = Compiling(self._module, self._how.compile, self._how.backend, self._how.say)
        self._earlier_steps = 0
        if unit.moments is not None:
            self._begin_with(unit.moments)

    @property
    def done(self) -> bool:
        return len(self.losses) >= self._unit.training.steps

    @property
    def micro_batch(self) -> int:
        """Examples that go through the model at once in the next step."""
        return self._search.size

    @property
    def fitting(self) -> int | None:
        """Examples that fit into memory at once, as far as that was found out."""
        return self._search.found

    @property
    def compile_pays(self) -> bool | None:
        """What a trial of torch.compile found; None where there was none, or it is not over."""
        return self._compiling.pays

    @property
    def stated_losses(self) -> list[float]:
        """One number a step that may leave this machine: the losses, or zeros where those would tell too much."""
        return [0.0] * len(self.losses) if self._gradients.private else list(self.losses)

    def limit(self, micro_batch_max: int | None) -> None:
        """Let no more than so many examples through the model at once; None lifts the limit."""
        self._search = self._search.limited(micro_batch_max)

    def step(self) -> float:
        """One optimiser step; its training loss in bits. Where memory is short, it is done in smaller parts.

        Raises:
            NonFiniteUpdateError: training diverged.
            NotEnoughMemoryError: one example at a time is too much. The unit can go on from a checkpoint.
        """
        training = self._unit.training
        index = len(self.losses)
        for group in self._optimiser.param_groups:
            group["lr"] = training.learning_rate * min(1.0, (index + 1) / max(training.warmup_steps, 1))
        began_s = time.perf_counter()
        bits = self._gradients_that_fit(index) / math.log(2)
        if not math.isfinite(bits):
            raise NonFiniteUpdateError(
                f"training diverged: the loss of step {index + 1} is {bits}; "
                "the run needs a lower training.learning_rate"
            )
        self._optimiser.step()
        self._search = self._search.worked()
        self.losses.append(bits)
        self._compiling.stepped(time.perf_counter() - began_s)
        return bits

    def _gradients_that_fit(self, index: int) -> float:
        """Gradients of one step in the parameters, clipped, and its mean loss in nats, however small its parts."""
        while True:
            self._optimiser.zero_grad(set_to_none=True)
            try:
                nats = self._gradients.leave(self._pass(index))
                nn.utils.clip_grad_norm_(self._parameters, self._unit.training.clip_grad_norm)
                return nats
            except (RuntimeError, MemoryError) as error:
                out_of_memory = is_out_of_memory(error)
                if not out_of_memory and not self._compiling.active:
                    raise
                failure = str(error) or type(error).__name__
                asked = asked_bytes(error)
            if not out_of_memory:
                self._compiling.failed(failure)
                continue
            self._make_do(failure, asked)  # outside of the handler, where nothing holds the failed step any more

    def _pass(self, index: int) -> Pass:
        unit = self._unit
        return Pass(
            task=unit.task,
            module=self._compiling.module(),
            parameters=self._parameters,
            device=self._device,
            size=self._search.size,
            autocast=self._autocast,
            seed=unit.seed,
            index=index,
            batch=unit.training.batch,
        )

    def _autocast(self) -> AbstractContextManager[Any]:
        how = self._how.autocast
        return nullcontext() if how is None else torch.autocast(self._device.type, how)

    def _make_do(self, failure: str, asked: int | None) -> None:
        """Find a way to do the step with less memory, and say which."""
        self._optimiser.zero_grad(set_to_none=True)
        let_go(self._device)
        was, smaller = self._search.size, self._search.failed()
        if smaller is not None:
            self._search = smaller
            self._how.say(f"memory did not suffice for {was} examples at once, now it is {smaller.size}")
        elif not self._computes_again and self._compute_again():
            self._how.say("memory did not suffice for one example: activations are computed again instead of kept")
        else:
            raise NotEnoughMemoryError(_too_little(self._device, failure, asked))

    def _compute_again(self) -> bool:
        """Keep fewer activations; whether anything could be done."""
        self._computes_again = compute_again(self._module) > 0
        return self._computes_again

    def trained(self) -> NDArray[np.float32]:
        """What trains, as it is now, float32 [P]."""
        return self._trainable.values()

    def change(self) -> NDArray[np.float32]:
        """What training changed in the model, trained minus base, float32: what an update is made of."""
        return self._trainable.change()

    def fisher(self) -> NDArray[np.float32]:
        """How sure training is of each element, float32 [P], not negative: a diagonal Fisher that costs nothing.

        AdamW's second moment, corrected for its start at zero, which lies units back where moments are kept.
        It is an average of squares of the gradients of whole batches, clipped, so a diagonal empirical Fisher
        up to a common factor and what averaging over a batch and over a moving model takes away; the order of
        elements is what it is for. At least one step was done.

        Source: Li et al. 2025, "Fishers for Free?", https://arxiv.org/abs/2507.18807
        """
        seen = 1.0 - self._unit.training.beta2 ** (self._earlier_steps + len(self.losses))
        return self._moment("exp_avg_sq") / np.float32(seen)

    def moments(self) -> Moments:
        """AdamW's moments as they are now. At least one step was done."""
        return Moments(self._earlier_steps + len(self.losses), self._moment("exp_avg"), self._moment("exp_avg_sq"))

    def progress(self) -> Progress:
        """What a checkpoint must hold. At least one step was done."""
        now = self.moments()
        return Progress(now.steps, tuple(self.losses), self.trained(), now.first_P, now.second_P)

    def restore(self, progress: Progress) -> None:
        """Continue where ``progress`` was taken; its moments take the place of the unit's."""
        self._trainable.load(progress.model_P)
        self._begin_with(Moments(progress.step, progress.first_P, progress.second_P))
        self._earlier_steps = progress.step - len(progress.losses)
        self.losses = list(progress.losses)

    def _begin_with(self, moments: Moments) -> None:
        """Give AdamW copies of ``moments``; all of its steps are earlier ones."""
        firsts, seconds = self._trainable.tensors(moments.first_P), self._trainable.tensors(moments.second_P)
        for name, parameter in self._trainable.parameters.items():
            self._optimiser.state[parameter] = {
                "step": torch.full_like(self._optimiser.state[parameter]["step"], float(moments.steps)),
                "exp_avg": firsts[name].to(self._device),
                "exp_avg_sq": seconds[name].to(self._device),
            }
        self._earlier_steps = moments.steps

    def _moment(self, which: str) -> NDArray[np.float32]:
        state: dict[Any, dict[str, Tensor]] = self._optimiser.state
        return self._trainable.flat({name: state[p][which] for name, p in self._trainable.parameters.items()})


def _adamw(trainable: Trainable, training: TrainingConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW that decays matrices only, as is usual: not the gains of norms.

    Its moments are there from the start, so a step that has begun to change parameters needs no memory for them; on a
    GPU it is one fused kernel, which needs none at all.
    """
    matrices = [p for name, p in trainable.parameters.items() if name in trainable.matrices]
    gains = [p for name, p in trainable.parameters.items() if name not in trainable.matrices]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": training.weight_decay}, {"params": gains, "weight_decay": 0.0}],
        lr=training.learning_rate,
        betas=(training.beta1, training.beta2),
        fused=True if device.type == "cuda" else None,
    )
    for parameter in trainable.parameters.values():
        optimiser.state[parameter] = {
            "step": torch.zeros((), device=device if device.type == "cuda" else None),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }
    return optimiser


def _too_little(device: torch.device, failure: str, asked: int | None) -> str:
    free = free_bytes(device)
    wanted = "more" if asked is None else f"{asked:,} bytes more"
    left = "an unknown amount is" if free is None else f"{free:,} bytes are"
    return (
        f"a step with one example at a time asked for {wanted} memory on {device}, {left} free ({failure[:160]}); "
        "the unit can go on from its checkpoint. End what else uses that memory, or join from a machine with more."
    )
