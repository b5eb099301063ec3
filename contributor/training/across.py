"""The gradient of one step from several devices: each takes a share of the batch, one of them takes the step.

Every device has a copy of the module, made when first needed. Before a step the copies get the parameters
that train; each computes the gradient of its share's summed loss, in a thread of its own; the sums are added
up in the order of the devices, so the same devices give the same bits. What a node is otherwise, one trainer,
one optimiser, one checkpoint, it stays: the device that comes first has them.

Source: synchronous data parallelism, Goyal et al. 2017, section 2, https://arxiv.org/abs/1706.02677

B  examples in a batch
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from contributor.tasks import Batch
from contributor.training.accumulate import Pass, Plain, add_up, parts_of

__all__ = ["Across", "shares_of"]


@dataclass(frozen=True)
class _Copy:
    """A module on another device, and of its parameters those that train, in the order of the step's."""

    module: nn.Module
    parameters: tuple[nn.Parameter, ...]


class Across:
    """Gradients from several devices.

    Attributes:
        private: as :class:`contributor.training.accumulate.Gradients` has it.
    """

    private = False

    def __init__(self, others: Sequence[torch.device]) -> None:
        """Use ``others`` beside the device that a step's module is on."""
        self._others = tuple(others)
        self._copies: tuple[_Copy, ...] = ()
        self._of: nn.Module | None = None

    def leave(self, work: Pass) -> float:
        """Put a gradient into each parameter of ``work``; the mean loss in nats.

        Whatever goes wrong, the copies go too: it may have been memory, and the module may be changed to need less.
        """
        try:
            return self._shared_out(work)
        except BaseException:
            self._copies, self._of = (), None
            raise

    def _shared_out(self, work: Pass) -> float:
        shares = shares_of(work.task.batch(work.seed, work.index, work.batch), 1 + len(self._others))
        if len(shares) == 1:
            return Plain().leave(work)
        passes = [work, *self._passes(work)][: len(shares)]
        with ThreadPoolExecutor(len(passes), "gradients") as pool:
            sums = list(pool.map(_summed, passes, shares))
        return _gathered(passes, sums)

    def _passes(self, work: Pass) -> list[Pass]:
        """The same step on the other devices, with the parameters of this moment."""
        if self._of is not work.module:
            self._copies = tuple(_copied(work, device) for device in self._others)
            self._of = work.module
        with torch.no_grad():
            for one in self._copies:
                for theirs, ours in zip(one.parameters, work.parameters, strict=True):
                    theirs.grad = None
                    theirs.copy_(ours, non_blocking=True)
        return [
            replace(work, module=one.module, parameters=one.parameters, device=device)
            for one, device in zip(self._copies, self._others, strict=True)
        ]


def shares_of(batch: Batch, devices: int) -> list[Batch]:
    """Consecutive shares of a batch, one a device, as equal as whole examples allow; fewer where there are fewer."""
    (examples,) = {len(values) for values in batch.values()}
    bounds = [examples * number // devices for number in range(devices + 1)]
    return [
        {name: values[first:last] for name, values in batch.items()} for first, last in pairwise(bounds) if first < last
    ]


def _summed(work: Pass, share: Batch) -> tuple[Tensor, int]:
    with torch.enable_grad():  # which is a thread's own
        return add_up(work, parts_of(share, work.size))


@torch.no_grad()
def _gathered(passes: Sequence[Pass], sums: Sequence[tuple[Tensor, int]]) -> float:
    """Bring the gradients of all to the first, divided by all that was predicted."""
    count = sum(predicted for _, predicted in sums)
    for same in zip(*(work.parameters for work in passes), strict=True):
        ours, *theirs = same
        for other in theirs:
            if other.grad is None:
                continue
            moved = other.grad.to(ours.device)
            ours.grad = moved if ours.grad is None else ours.grad.add_(moved)
            other.grad = None
        if ours.grad is not None:
            ours.grad.div_(count)
    whole = sums[0][0]
    for total, _ in sums[1:]:
        whole += total.to(whole.device)
    return float(whole) / count


def _copied(work: Pass, device: torch.device) -> _Copy:
    """The step's module once more, on another device."""
    module = copy.deepcopy(work.module).to(device)
    places = {parameter: name for name, parameter in work.module.named_parameters()}
    theirs = dict(module.named_parameters())
    return _Copy(module, tuple(theirs[places[parameter]] for parameter in work.parameters))
