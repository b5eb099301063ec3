"""Blocks of all models as the rows that strategies take: changes against the base, or the weights.

A change is model minus base, one float32 subtraction of values that float32 holds exactly;
without a base a row is the weights themselves, read where they lie if they are float32.

K  models
B  elements of a block
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import NonFiniteCheckpointError
from merge.offline.job import Inputs
from merge.offline.passes import Progress
from merge.offline.tensors import ITEM_BYTES, TensorSource, all_finite, stored_floats

__all__ = ["BLOCK", "Block", "RowReader", "Workspace"]

Floats = NDArray[np.float32]

BLOCK = 1 << 19  # 2 MiB of each model: much beside the cost of a call, little beside memory


@dataclass(frozen=True)
class Block:
    """Elements ``[start, end)`` of one tensor.

    Attributes:
        rows: K arrays float32 [B], finite.
        base_B: float32 [B]; None when the rows are weights and not changes.
    """

    rows: list[Floats]
    base_B: Floats | None


@dataclass
class Workspace:
    """Buffers of one thread, made when they are first needed and used again for every block."""

    _buffers: dict[int, Floats] = field(default_factory=dict)

    def buffer(self, which: int, size: int) -> Floats:
        """float32 [size], with whatever is left in it."""
        there = self._buffers.get(which)
        if there is None or len(there) < size:
            self._buffers[which] = there = np.empty(size, dtype=np.float32)
        return there[:size]


class RowReader:
    """Reads blocks of all models, and drops them again."""

    def __init__(self, inputs: Inputs, progress: Progress) -> None:
        self._inputs = inputs
        self._progress = progress
        self._idle: queue.SimpleQueue[Workspace] = queue.SimpleQueue()

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        """Buffers that nobody else uses meanwhile."""
        try:
            space = self._idle.get_nowait()
        except queue.Empty:
            space = Workspace()
        yield space
        self._idle.put(space)

    def read(self, name: str, start: int, end: int, space: Workspace, *, unchecked: bool = False) -> Block:
        """Elements ``[start, end)`` of a tensor of all models, until the workspace is used for another block.

        Args:
            unchecked: the caller sees from its result whether the rows are finite, and then calls :meth:`check`.

        Raises:
            NonFiniteCheckpointError: a model or the base has a NaN or an infinity there.
            StopError: the pass is over.
        """
        models, base = self._inputs.models, self._inputs.base
        self._progress.advance(sum(self._bytes(source, name, start, end) for source in self._inputs.sources))
        stored = [
            stored_floats(model, name, start, end, space.buffer(k, end - start)) for k, model in enumerate(models)
        ]
        if base is None:
            rows = stored
            base_B = None
        else:
            base_B = stored_floats(base, name, start, end, space.buffer(len(models), end - start))
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found, and named
                rows = [np.subtract(row_B, base_B, out=space.buffer(k, end - start)) for k, row_B in enumerate(stored)]
        if not unchecked:
            self.check(rows, name, start, end)
        return Block(rows, base_B)

    def check(self, rows: Sequence[Floats], name: str, start: int, end: int) -> None:
        """Raise NonFiniteCheckpointError if one of the K rows float32 [B] is not finite."""
        for k, row_B in enumerate(rows):
            if not all_finite(row_B.view(np.uint8), "F32"):
                raise self._not_finite(name, k, start, end)

    def release(self, name: str, start: int, end: int) -> None:
        for source in self._inputs.sources:
            source.release(name, start, end)

    def _bytes(self, source: TensorSource, name: str, start: int, end: int) -> int:
        return (end - start) * ITEM_BYTES[source.dtype(name)]

    def _not_finite(self, name: str, k: int, start: int, end: int) -> NonFiniteCheckpointError:
        suspects = [(self._inputs.names[k], self._inputs.models[k])]
        if self._inputs.base is not None:
            suspects.append(("the base", self._inputs.base))
        for whose, source in suspects:
            if not all_finite(source.block(name, start, end), source.dtype(name)):
                return NonFiniteCheckpointError(
                    f"tensor {name!a} of {whose} has a NaN or an infinity; nothing was written. Leave that model "
                    "out, or take the tensor from another one with an override in a recipe"
                )
        return NonFiniteCheckpointError(
            f"tensor {name!a}: {self._inputs.names[k]} minus the base is more than float32 holds; nothing was written"
        )
