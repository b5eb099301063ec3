"""Writing a model: one safetensors file, or shards with an index, tensor by tensor in any order.

Where every tensor lies is decided before the first byte is written, so blocks may come from
several threads and nothing is held back. Within a file tensors are ordered by the size of
their elements and then by name, so each lies aligned.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.digests import RunningDigests
from barnraise.checkpoints.dtypes import ITEM_BYTES
from barnraise.checkpoints.folder import INDEX, SINGLE
from barnraise.checkpoints.header import HEADER_MAX_BYTES, StoredTensor, encode_header
from barnraise.errors import UsageError
from barnraise.updates.space import TensorSpec

__all__ = ["CheckpointWriter", "Shard", "plan_shards"]


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a model: its name, header, tensors, and its size in bytes."""

    name: str
    header: bytes
    tensors: tuple[StoredTensor, ...]
    size_bytes: int


def plan_shards(specs: Sequence[TensorSpec], shard_bytes: int) -> list[Shard]:
    """Which file each tensor goes to, and where in it.

    Args:
        shard_bytes: tensors of one file take at most this, unless one alone takes more.

    Raises:
        UsageError: a file would get more tensors than its header can name.
    """
    groups: list[list[TensorSpec]] = [[]]
    filled = 0
    for spec in sorted(specs):
        size = spec.size * ITEM_BYTES[spec.dtype]
        if groups[-1] and filled + size > shard_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(spec)
        filled += size
    count = len(groups)
    names = [SINGLE] if count == 1 else [f"model-{n + 1:05d}-of-{count:05d}.safetensors" for n in range(count)]
    return [_shard(name, group) for name, group in zip(names, groups, strict=True)]


def _shard(name: str, specs: Sequence[TensorSpec]) -> Shard:
    tensors, place = [], 0
    for spec in sorted(specs, key=lambda spec: (-ITEM_BYTES[spec.dtype], spec)):
        end = place + spec.size * ITEM_BYTES[spec.dtype]
        tensors.append(StoredTensor(spec.name, spec.dtype, spec.shape, place, end))
        place = end
    header = encode_header(tensors, {"format": "pt"})  # which transformers looks for
    if len(header) > HEADER_MAX_BYTES:
        raise UsageError(f"{len(specs):,} tensors are too many for one file; choose a smaller --shard-size")
    return Shard(name, header, tuple(tensors), len(header) + place)


class CheckpointWriter:
    """Fills the files of a model in a folder that nobody else uses. Blocks may come from several threads."""

    def __init__(self, folder: Path, specs: Sequence[TensorSpec], shards: Sequence[Shard]) -> None:
        self._folder = folder
        self._shards = shards
        self._items = {spec.name: ITEM_BYTES[spec.dtype] for spec in specs}
        self._running = RunningDigests(specs)
        self._files: list[int] = []
        self._places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> CheckpointWriter:
        for shard in self._shards:
            file = os.open(self._folder / shard.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            self._files.append(file)
            _write_at(file, shard.header, 0)
            os.ftruncate(file, shard.size_bytes)
            for tensor in shard.tensors:
                self._places[tensor.name] = (file, len(shard.header) + tensor.begin)
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            os.close(file)
        self._files.clear()

    def put(self, name: str, start: int, data: NDArray[np.uint8]) -> None:
        """Write the bytes of elements from ``start`` on; blocks of one tensor come in order.

        Raises:
            OSError: the disk.
        """
        file, place = self._places[name]
        start_byte = start * self._items[name]
        self._running.add(name, start_byte, data)
        _write_at(file, data.data, place + start_byte)

    def finish(self) -> str:
        """Wait until everything is on the disk, write the index if there are shards.

        Returns:
            The model's digest.

        Raises:
            RuntimeError: some tensor was not written to its end.
            OSError: the disk.
        """
        digest = self._running.model_digest()
        for file in self._files:
            os.fsync(file)
        if len(self._shards) > 1:
            (self._folder / INDEX).write_bytes(self._index())
        return digest

    def _index(self) -> bytes:
        total = sum(tensor.size_bytes for shard in self._shards for tensor in shard.tensors)
        where = {tensor.name: shard.name for shard in self._shards for tensor in shard.tensors}
        value = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
        return json.dumps(value, indent=2).encode("ascii") + b"\n"


def _write_at(file: int, data: bytes | memoryview, place: int) -> None:
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(file, view, place)
        view, place = view[written:], place + written
