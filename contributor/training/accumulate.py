"""The gradient of a step's mean loss, from one pass over the batch or from several over parts of it.

A loss is a sum, so the gradients of the parts add up, and are divided once at the end by all that was predicted.
That is the gradient of the whole batch but for rounding, however it is cut. A batch that is not cut is divided
before the backward pass, as it would be without any of this.

B  examples in a batch
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from contributor.tasks import Batch, Loss, Task

__all__ = ["Gradients", "Pass", "Plain", "parts_of"]


@dataclass(frozen=True)
class Pass:
    """What computing a gradient takes.

    Attributes:
        module: as the task knows it, or compiled. parameters: those that train.
        device: where the module is. size: examples that go through it at once.
        autocast: a new context of the precision that forward passes have.
        seed, index: of the unit's data, and which step of it this is. batch: examples of a step.
    """

    task: Task
    module: nn.Module
    parameters: tuple[nn.Parameter, ...]
    device: torch.device
    size: int
    autocast: Callable[[], AbstractContextManager[Any]]
    seed: int
    index: int
    batch: int

    def loss(self, part: Batch) -> Loss:
        """Of a part of a batch, which is brought to the device."""
        moved = {name: values.to(self.device, non_blocking=True) for name, values in part.items()}
        with self.autocast():
            return self.task.loss(self.module, moved)


class Gradients(Protocol):
    """How a step's examples become the gradients that the optimiser sees.

    Attributes:
        private: whether numbers that follow from examples, such as losses, must not leave the machine.
    """

    @property
    def private(self) -> bool: ...

    def leave(self, work: Pass) -> float:
        """Put a gradient into each parameter, which has none yet; the mean loss in nats."""
        ...


@dataclass(frozen=True)
class Plain:
    """The gradient of the mean loss of the step's batch."""

    private: bool = False

    def leave(self, work: Pass) -> float:
        batch = work.task.batch(work.seed, work.index, work.batch)
        parts = list(parts_of(batch, work.size))
        if len(parts) == 1:
            found = work.loss(parts[0])
            mean = found.total / found.count
            torch.autograd.backward(mean)
            return float(mean.detach())
        total, count = add_up(work, parts)
        for parameter in work.parameters:
            if parameter.grad is not None:
                parameter.grad.div_(count)
        return float(total) / count


def add_up(work: Pass, parts: Iterable[Batch]) -> tuple[Tensor, int]:
    """Gradients of the summed loss of ``parts`` into the parameters; the sum, and of how many predictions it is."""
    total, count = torch.zeros((), device=work.device), 0
    for part in parts:
        found = work.loss(part)
        torch.autograd.backward(found.total)
        total += found.total.detach()
        count += found.count
    return total, count


def parts_of(batch: Batch, size: int) -> Iterator[Batch]:
    """Consecutive parts of at most ``size`` examples."""
    (examples,) = {len(values) for values in batch.values()}
    if size >= examples:
        yield batch
        return
    for first in range(0, examples, size):
        yield {name: values[first : first + size] for name, values in batch.items()}
