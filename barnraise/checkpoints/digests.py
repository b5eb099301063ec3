"""The digest of a model, taken while it is read or written for other reasons.

A tensor's digest needs its bytes from first to last, and a merge passes over them anyway; so
they are hashed on the way, while they are in the processor's cache. The digest of a model is
that of its tensors' names, types, shapes and digests: it does not depend on how the model is
cut into files, and it is the one that a release's manifest states.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.dtypes import ITEM_BYTES
from barnraise.digest import new_hasher
from barnraise.updates.space import ParameterSpace, TensorSpec, model_digest

__all__ = ["DigestedCheckpoint", "RunningDigests"]

BLOCK_BYTES = 1 << 20


class RunningDigests:
    """Digests of tensors whose bytes come in order. Different tensors may come from different threads."""

    def __init__(self, specs: Iterable[TensorSpec]) -> None:
        self._space = ParameterSpace.of(specs)
        self._hashers = {spec.name: new_hasher() for spec in self._space.tensors}
        self._bytes = dict.fromkeys(self._hashers, 0)

    def add(self, name: str, start_byte: int, data: NDArray[np.uint8]) -> None:
        """Hash the next bytes of a tensor; bytes that came before are passed over."""
        if start_byte == self._bytes[name]:
            self._hashers[name].update(data.data)
            self._bytes[name] += len(data)

    def done_bytes(self, name: str) -> int:
        """How many bytes of a tensor were hashed."""
        return self._bytes[name]

    def model_digest(self) -> str:
        """The model's digest.

        Raises:
            RuntimeError: some tensor did not come to its end.
        """
        for spec in self._space.tensors:
            if self._bytes[spec.name] != spec.size * ITEM_BYTES[spec.dtype]:
                raise RuntimeError(f"{spec.name}: {self._bytes[spec.name]} bytes were hashed, it has more")
        digests = [f"b3:{self._hashers[spec.name].hexdigest()}" for spec in self._space.tensors]
        return model_digest(self._space, digests)


class DigestedCheckpoint:
    """A checkpoint that is hashed as its blocks are read."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._running = RunningDigests(checkpoint.specs)

    def dtype(self, name: str) -> str:
        return self.checkpoint.dtype(name)

    def block(self, name: str, start: int, end: int) -> NDArray[np.uint8]:
        """As :meth:`Checkpoint.block`; hashed if all that lies before it was."""
        data = self.checkpoint.block(name, start, end)
        self._running.add(name, start * ITEM_BYTES[self.checkpoint.dtype(name)], data)
        return data

    def release(self, name: str, start: int, end: int) -> None:
        self.checkpoint.release(name, start, end)

    def digest(self) -> str:
        """The model's digest; what was not read yet is read now."""
        for name, tensor in self.checkpoint.tensors.items():
            item = ITEM_BYTES[tensor.dtype]
            step = BLOCK_BYTES // item
            for start in range(self._running.done_bytes(name) // item, tensor.size, step):
                end = min(tensor.size, start + step)
                self.block(name, start, end)
                self.release(name, start, end)
        return self._running.model_digest()
