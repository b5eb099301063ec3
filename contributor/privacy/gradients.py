"""Gradients that tell little of any one example: each clipped, their sum made noisy.

For a step every example of the shard is drawn or not, by a lot of its own with the same probability, in secret. The
gradient of each drawn example is shortened to at most ``clip``; to their sum Gaussian noise of ``noise * clip`` is
added for every element; and the result is divided by the number of examples that was *expected*, for how many were
drawn must not show either. What follows from it - moments, weights, residual, update - costs nothing more.

Examples go through the model one at a time, which is exact for every model and slow on a GPU.

Source: Abadi et al. 2016, https://arxiv.org/abs/1607.00133
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contributor.privacy.noise import SecretStream
from contributor.tasks import Batch
from contributor.training.accumulate import Pass

__all__ = ["Countable", "Private"]


@runtime_checkable
class Countable(Protocol):
    """A task whose shard is a list of examples that have nothing in common, so that one can be left out."""

    @property
    def examples(self) -> int: ...

    def pick(self, numbers: NDArray[np.int64]) -> Batch:
        """Those examples, each number in [0, ``examples``)."""
        ...


@dataclass
class Private:
    """Noisy gradients; also a plain description of them.

    Attributes:
        rate: probability of an example to be drawn for a step. clip: longest gradient of one example.
        noise: standard deviation of the noise over ``clip``.
    """

    rate: float
    noise: float
    clip: float
    stream: SecretStream = field(default_factory=SecretStream)
    private: bool = True

    def leave(self, work: Pass) -> float:
        """Noisy gradients into the parameters; the mean loss in nats, which must not leave this machine."""
        task = work.task
        assert isinstance(task, Countable), f"{task.name} has no examples to leave out"
        drawn = np.flatnonzero(self.stream.uniform(task.examples) < self.rate)
        sums = [torch.zeros_like(parameter) for parameter in work.parameters]
        losses = [self._add_example(work, task.pick(drawn[i : i + 1]), sums) for i in range(len(drawn))]
        expected = self.rate * task.examples
        for parameter, total in zip(work.parameters, sums, strict=True):
            noise = torch.from_numpy(self.stream.normal(total.numel())).view(total.shape).to(total.device)
            parameter.grad = total.add_(noise, alpha=self.noise * self.clip).div_(expected)
        return float(np.mean(losses)) if losses else 0.0

    def _add_example(self, work: Pass, example: Batch, sums: list[Tensor]) -> float:
        """Its clipped gradient to ``sums``; its loss. A gradient that is not finite counts as none."""
        found = work.loss(example)
        mean = found.total / found.count
        torch.autograd.backward(mean)
        gradients = [parameter.grad for parameter in work.parameters]
        squares = [gradient.double().square().sum() for gradient in gradients if gradient is not None]
        norm = float(torch.stack(squares).sum().sqrt())
        factor = min(1.0, self.clip / norm) if norm > 0 else 1.0
        for total, gradient in zip(sums, gradients, strict=True):
            if gradient is not None and np.isfinite(norm):
                total.add_(gradient, alpha=factor)
        for parameter in work.parameters:
            parameter.grad = None
        return float(mean.detach())
