"""A model's tensors in the files of a folder: written piece by piece, read where they lie.

Neither direction needs memory for more than a piece of a tensor for each thread. A file that was
mapped keeps its content when the folder is exchanged for a newer release.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.dtypes import ITEM_BYTES
from barnraise.digest import new_hasher
from barnraise.errors import UsageError, VerificationError
from barnraise.releases.convert import convert
from barnraise.releases.durable import begin_writing, write_all_at
from barnraise.releases.layout import ModelFile, stored_bytes
from barnraise.releases.shared_out import share_out
from barnraise.updates.space import TensorSpec

__all__ = ["Bytes", "Pieces", "map_files", "tensors_in", "write_model"]

Bytes: TypeAlias = NDArray[np.uint8]
Pieces: TypeAlias = Callable[[str], Iterable[Bytes]]
"""A tensor's little-endian bytes by its name, some whole elements at a time; each piece may be written over by the
next. Where it fails, the pieces before were not the tensor's."""

PIECE = 1 << 22  # elements that are converted at once
AT_ONCE = 16 << 20  # bytes after which the disk begins with them
# A reserve for pages that nobody writes to would count a large file as memory that must be at hand.
_PRIVATE = mmap.MAP_PRIVATE | (getattr(mmap, "MAP_NORESERVE", 0x4000) if sys.platform == "linux" else 0)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor goes. ``released``: the type that it has as it comes."""

    path: Path
    at: int
    spec: TensorSpec
    released: str


def write_model(
    folder: Path, files: Sequence[ModelFile], tensor: Pieces, released: Mapping[str, str], pool: Executor | None = None
) -> dict[str, str]:
    """Write the files of a model into a folder that nobody else uses; the caller fsyncs them.

    Args:
        files: their layout, with the types that are stored.
        tensor: the tensors, as released; asked for by every thread of the pool, the largest first.
        released: the type that each tensor has as released, by name; it is converted where the layout has another.
        pool: see :func:`~barnraise.releases.shared_out.share_out`.

    Returns:
        Digest of every tensor that was converted, by name.

    Raises:
        UsageError: a value is too large for the type that it is converted to.
        OSError: the disk.
    """
    places = []
    for file in files:
        path, at = folder / file.name, len(file.header)
        path.write_bytes(file.header)
        for spec in file.tensors:
            places.append(_Place(path, at, spec, released[spec.name]))
            at += stored_bytes(spec)
    places.sort(key=lambda place: -stored_bytes(place.spec))  # the smallest last, so that no thread is last for long
    digests = share_out(lambda place: _write_tensor(place, tensor(place.spec.name)), places, pool)
    return {place.spec.name: digest for place, digest in zip(places, digests, strict=True) if digest is not None}


def _write_tensor(place: _Place, pieces: Iterable[Bytes]) -> str | None:
    """Write a tensor to its place; its digest if it was converted. The file is this thread's own for so long."""
    spec, at = place.spec, place.at
    end, begun = at + stored_bytes(spec), at
    is_converted = place.released != spec.dtype
    hasher = new_hasher()
    descriptor = os.open(place.path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for piece in _converted(spec, iter(pieces), place.released) if is_converted else pieces:
            write_all_at(descriptor, piece.data, at)
            at += len(piece)
            if is_converted:
                hasher.update(piece.data)
            if at - begun >= AT_ONCE or at == end:
                begin_writing(descriptor, begun, at - begun)
                begun = at
    finally:
        os.close(descriptor)
    assert at == end, (spec, at, end)
    return f"b3:{hasher.hexdigest()}" if is_converted else None


def _converted(spec: TensorSpec, pieces: Iterator[Bytes], released: str) -> Iterator[Bytes]:
    step = PIECE * ITEM_BYTES[released]
    for piece in pieces:
        for start in range(0, len(piece), step):
            try:
                yield convert(piece[start : start + step], released, spec.dtype)
            except OverflowError as error:
                for _ in pieces:  # whether the value is the tensor's is known with its last piece
                    pass
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
