"""A model's tensors in the files of a folder: written piece by piece, read where they lie.

Neither direction needs memory for more than a piece of one tensor beside the model itself. A
file that was mapped keeps its content when the folder is exchanged for a newer release.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.dtypes import ITEM_BYTES
from barnraise.digest import new_hasher
from barnraise.errors import UsageError, VerificationError
from barnraise.releases.convert import convert
from barnraise.releases.durable import begin_writing, write_all
from barnraise.releases.layout import ModelFile, stored_bytes
from barnraise.updates.space import TensorSpec

__all__ = ["Bytes", "map_files", "tensors_in", "write_model"]

Bytes: TypeAlias = NDArray[np.uint8]
PIECE = 1 << 22  # elements that are converted at once
# A reserve for pages that nobody writes to would count a large file as memory that must be at hand.
_PRIVATE = mmap.MAP_PRIVATE | (getattr(mmap, "MAP_NORESERVE", 0x4000) if sys.platform == "linux" else 0)


def write_model(
    folder: Path, files: Sequence[ModelFile], tensor: Callable[[str], Bytes], released: Mapping[str, str]
) -> dict[str, str]:
    """Write the files of a model into a folder that nobody else uses; the caller fsyncs them.

    Args:
        files: their layout, with the types that are stored.
        tensor: the little-endian bytes of a tensor, as released.
        released: the type that each tensor has as released, by name; it is converted where the layout has another.

    Returns:
        Digest of every tensor that was converted, by name.

    Raises:
        UsageError: a value is too large for the type that it is converted to.
        OSError: the disk.
    """
    digests: dict[str, str] = {}
    for file in files:
        with (folder / file.name).open("xb", buffering=0) as opened:
            write_all(opened.fileno(), file.header)
            for spec in file.tensors:
                data = tensor(spec.name)
                if released[spec.name] == spec.dtype:
                    write_all(opened.fileno(), data.data)
                    begin_writing(opened.fileno())
                    continue
                hasher = new_hasher()
                for piece in _converted(spec, data, released[spec.name]):
                    write_all(opened.fileno(), piece.data)
                    hasher.update(piece.data)
                digests[spec.name] = f"b3:{hasher.hexdigest()}"
    return digests


def _converted(spec: TensorSpec, data: Bytes, released: str) -> Iterator[Bytes]:
    step = PIECE * ITEM_BYTES[released]
    for start in range(0, len(data), step):
        try:
            yield convert(data[start : start + step], released, spec.dtype)
        except OverflowError as error:
            raise UsageError(f"tensor {spec.name!a} cannot be converted: {error}; nothing was changed") from error


def map_files(folder: Path, files: Sequence[ModelFile], *, writable: bool = False) -> tuple[Bytes, ...]:
    """What lies behind the header of every file, mapped.

    Args:
        files: the layout that the folder must have.
        writable: whether the result may be written to; that changes the process's own copy, never the file.

    Raises:
        VerificationError: a file is missing, or is not one of this layout. Values are not looked at.
    """
    found = []
    for file in files:
        mapped = _map(folder / file.name, file, writable)
        if mapped[: len(file.header)].tobytes() != file.header:
            raise VerificationError(
                f"{folder / file.name}: the header is not the one that its tensors have; pull the release again"
            )
        found.append(mapped[len(file.header) :])
    return tuple(found)


def tensors_in(files: Sequence[ModelFile], data: Sequence[Bytes]) -> dict[str, Bytes]:
    """The bytes of every tensor by name, sorted, as views.

    Args:
        data: what lies behind the header of each of ``files``.
    """
    tensors: dict[str, Bytes] = {}
    for file, part in zip(files, data, strict=True):
        place = 0
        for spec in file.tensors:
            end = place + stored_bytes(spec)
            tensors[spec.name] = part[place:end]
            place = end
    return dict(sorted(tensors.items()))


def _map(path: Path, file: ModelFile, writable: bool) -> Bytes:
    try:
        with path.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            if size != file.size_bytes:
                raise VerificationError(
                    f"{path} has {size:,} bytes, its tensors need {file.size_bytes:,}; pull the release again"
                )
            if writable:
                mapped = mmap.mmap(opened.fileno(), 0, flags=_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            else:
                mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise VerificationError(
            f"{path.parent} holds no whole release: no {path.name}. Get one: barnraise pull NAME --into {path.parent}"
        ) from error
    return np.frombuffer(mapped, dtype=np.uint8)
