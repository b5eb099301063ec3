"""What a task is: a module, the examples of a shard, and a loss that adds up over micro-batches.

B  examples in a batch
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

__all__ = ["Batch", "Loss", "Task"]

Batch = Mapping[str, Tensor]
"""Tensors by name; the first dimension of each is B."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A sum, so that the losses of micro-batches add up to that of the batch.

    Attributes:
        total: scalar, nats, summed over ``count`` predictions.
        count: bytes, tokens or answers that were predicted; at least one.
    """

    total: Tensor
    count: int


class Task(Protocol):
    """A kind of training, on the examples of one shard. Nothing here knows of devices or optimisers."""

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str:
        """Of a loss divided by its count and by ln 2, such as ``bits per byte``."""
        ...

    def module(self) -> nn.Module:
        """A new module on the CPU, float32; its weights are set by the caller."""
        ...

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The examples of one step, on the CPU: they follow from the arguments and the shard alone.

        So there is no data position to remember, and a unit that is continued sees what it would have seen.
        """
        ...

    def loss(self, module: Any, batch: Batch) -> Loss:
        """Of a batch or a part of one, on whatever device both are."""
        ...

    def tokens(self, examples: int) -> int:
        """Predictions in so many examples, as an envelope states them."""
        ...
