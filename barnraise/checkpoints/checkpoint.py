"""A model in local files: its tensors by name, mapped into memory and read where they lie.

Opening reads the headers only. A block is a view into the mapped file: it takes no memory of
its own, and its pages can be dropped once they were used.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.dtypes import ITEM_BYTES
from barnraise.checkpoints.folder import CONFIG, find_files, read_json
from barnraise.checkpoints.header import HEADER_MAX_BYTES, StoredTensor, parse_header
from barnraise.errors import NotACheckpointError
from barnraise.updates.space import TensorSpec

__all__ = ["Checkpoint"]

# Private and writable, as torch wants memory that it shares; nobody writes. Without a reserve,
# or the system counts a large file as memory that must be at hand.
_FLAGS = mmap.MAP_PRIVATE | (getattr(mmap, "MAP_NORESERVE", 0x4000) if sys.platform == "linux" else 0)


@dataclass(frozen=True)
class Checkpoint:
    """A model whose headers were read and checked.

    Attributes:
        path: as it was named: a file or a folder.
        tensors: by name, sorted.
        config: what ``config.json`` says; None without one.
        files: that hold the tensors.
    """

    path: Path
    tensors: Mapping[str, StoredTensor]
    config: Mapping[str, Any] | None
    files: tuple[Path, ...]
    _maps: Mapping[str, mmap.mmap]

    @classmethod
    def open(cls, path: Path, *, adapters: bool = False) -> Checkpoint:
        """Open a safetensors file, or a Hugging Face folder; one with an adapter of peft's where ``adapters``.

        Raises:
            NotACheckpointError: there is no model, or one of its files is not what it says.
        """
        files, where = find_files(path, adapters=adapters)
        tensors: dict[str, StoredTensor] = {}
        maps: dict[str, mmap.mmap] = {}
        for file in files:
            mapped, found = _open_file(file)
            for tensor in found:
                if tensor.name in tensors:
                    raise NotACheckpointError(f"{path}: tensor {tensor.name!a} is in two files; expected it in one")
                if where is not None and where.get(tensor.name) != file.name:
                    raise NotACheckpointError(f"{file} holds tensor {tensor.name!a}, of which the index says otherwise")
                tensors[tensor.name] = tensor
                maps[tensor.name] = mapped
        missing = sorted(set(where or ()) - set(tensors))
        if missing:
            raise NotACheckpointError(f"{path}: {_first(missing)} in the index, but in none of its files")
        if not tensors:
            raise NotACheckpointError(f"{path} holds no tensors")
        folder = path if path.is_dir() else None
        config = read_json(folder / CONFIG) if folder and (folder / CONFIG).is_file() else None
        return cls(path, dict(sorted(tensors.items())), config, tuple(files), maps)

    @property
    def folder(self) -> Path | None:
        """Where files that travel along may lie; None for a single file."""
        return self.path if self.path.is_dir() else None

    @property
    def specs(self) -> list[TensorSpec]:
        """Name, shape and type of every tensor."""
        return [TensorSpec(tensor.name, tensor.shape, tensor.dtype) for tensor in self.tensors.values()]

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size_bytes for tensor in self.tensors.values())

    def dtype(self, name: str) -> str:
        return self.tensors[name].dtype

    def block(self, name: str, start: int, end: int) -> NDArray[np.uint8]:
        """The bytes of elements ``[start, end)`` of a tensor, uint8; a view that must not be written to."""
        tensor = self.tensors[name]
        item = ITEM_BYTES[tensor.dtype]
        assert 0 <= start <= end <= tensor.size, (name, start, end, tensor.size)
        return np.frombuffer(self._maps[name], np.uint8, item * (end - start), tensor.begin + item * start)

    def release(self, name: str, start: int, end: int) -> None:
        """Drop the pages that lie wholly within the block; the file stays in the system's cache."""
        tensor = self.tensors[name]
        item = ITEM_BYTES[tensor.dtype]
        first = -(-(tensor.begin + item * start) // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (tensor.begin + item * end) // mmap.PAGESIZE * mmap.PAGESIZE
        if first < last and hasattr(mmap, "MADV_DONTNEED"):
            self._maps[name].madvise(mmap.MADV_DONTNEED, first, last - first)


def _open_file(path: Path) -> tuple[mmap.mmap, list[StoredTensor]]:
    with path.open("rb") as file:
        start = file.read(8)
        announced = min(int.from_bytes(start, "little"), HEADER_MAX_BYTES) if len(start) == 8 else 0
        start += file.read(announced)
        size = file.seek(0, 2)
        tensors = parse_header(start, size, str(path))
        mapped = mmap.mmap(file.fileno(), 0, flags=_FLAGS, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    if hasattr(mmap, "MADV_SEQUENTIAL"):
        mapped.madvise(mmap.MADV_SEQUENTIAL)
    return mapped, tensors


def _first(names: list[str]) -> str:
    """A few of the names, and how many they are."""
    shown = ", ".join(f"{name!a}" for name in names[:3])
    return f"{shown} {'is' if len(names) == 1 else 'are' if len(names) <= 3 else f'and {len(names) - 3} more are'}"
