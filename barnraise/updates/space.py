"""The canonical parameter space: one flat vector that every update and patch addresses.

Tensors are sorted by name and flattened one after the other. Each is cut into chunks of
``CHUNK`` elements, the last one of a tensor short; ``CHUNKS_PER_SEGMENT`` chunks make a
segment, the unit that is encoded, decoded and merged on its own. Names never appear in an
update: its layout follows from the base.

P  elements in the whole space
C  chunks in the whole space
S  segments
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import digest_each, digest_json

__all__ = ["CHUNK", "CHUNKS_PER_SEGMENT", "ParameterSpace", "Piece", "TensorSpec", "model_digest"]

CHUNK = 4096
CHUNKS_PER_SEGMENT = 256


@dataclass(frozen=True, slots=True, order=True)
class TensorSpec:
    """Name, shape and dtype of one tensor. The trunk is float32, so ``dtype`` is ``"F32"``."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "F32"

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Piece:
    """Elements ``[start, end)`` of a segment belong to tensor number ``tensor``.

    ``place`` is where they begin in the flat vector of the model.
    """

    tensor: int
    start: int
    end: int
    place: int


@dataclass(frozen=True)
class ParameterSpace:
    """Where every element of a model lies in the flat vector.

    Attributes:
        tensors: sorted by name, names unique.
        cuts: the chunk that each segment begins with, and the number of chunks; empty for the usual ones.
            Not part of the layout: only a space that goes along with another one has its own.
    """

    tensors: tuple[TensorSpec, ...]
    cuts: tuple[int, ...] = ()

    @classmethod
    def of(cls, tensors: Iterable[TensorSpec]) -> ParameterSpace:
        ordered = tuple(sorted(tensors))
        if len({t.name for t in ordered}) != len(ordered):
            raise ValueError("two tensors have the same name")
        return cls(ordered)

    @cached_property
    def size(self) -> int:
        """P, the number of elements."""
        return sum(t.size for t in self.tensors)

    @cached_property
    def digest(self) -> str:
        """Digest of the layout alone: two models of one architecture share it."""
        return digest_json([[t.name, t.dtype, list(t.shape)] for t in self.tensors])

    @cached_property
    def tensor_starts(self) -> NDArray[np.int64]:
        """int64 [number of tensors + 1], where each tensor begins; the last entry is P."""
        return np.cumsum([0, *(t.size for t in self.tensors)], dtype=np.int64)

    @cached_property
    def chunk_starts(self) -> NDArray[np.int64]:
        """int64 [C + 1], where each chunk begins; the last entry is P."""
        starts = [
            np.arange(start, end, CHUNK, dtype=np.int64)
            for start, end in zip(self.tensor_starts[:-1], self.tensor_starts[1:], strict=True)
        ]
        return np.concatenate([*starts, np.array([self.size], dtype=np.int64)])

    @property
    def chunk_count(self) -> int:
        return len(self.chunk_starts) - 1

    @property
    def segment_count(self) -> int:
        return len(self.cuts) - 1 if self.cuts else -(-self.chunk_count // CHUNKS_PER_SEGMENT)

    def segment_chunks(self, segment: int) -> tuple[int, int]:
        """First chunk and end of a segment."""
        if self.cuts:
            return self.cuts[segment], self.cuts[segment + 1]
        first = segment * CHUNKS_PER_SEGMENT
        return first, min(first + CHUNKS_PER_SEGMENT, self.chunk_count)

    def segment_range(self, segment: int) -> tuple[int, int]:
        """First element and end of a segment in the flat vector."""
        first, last = self.segment_chunks(segment)
        return int(self.chunk_starts[first]), int(self.chunk_starts[last])

    def pieces(self, segment: int) -> tuple[Piece, ...]:
        """The pieces that make up a segment, in their order; a tensor without elements has none."""
        first, last = self.segment_range(segment)
        starts = self.tensor_starts
        tensors = range(int(np.searchsorted(starts, first, side="right")) - 1, int(np.searchsorted(starts, last)))
        cuts = [(tensor, max(first, int(starts[tensor])), min(last, int(starts[tensor + 1]))) for tensor in tensors]
        return tuple(Piece(tensor, start - first, end - first, start) for tensor, start, end in cuts if start < end)

    def segment_chunk_starts(self, segment: int) -> NDArray[np.int64]:
        """int64 [chunks of the segment + 1], chunk boundaries relative to the segment's start."""
        first, last = self.segment_chunks(segment)
        starts = self.chunk_starts[first : last + 1]
        shifted: NDArray[np.int64] = starts - starts[0]
        return shifted

    def flatten(self, tensors: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """The flat float32 [P] vector of a model.

        Raises:
            ValueError: a tensor is missing, superfluous, or of another shape or dtype.
        """
        if set(tensors) != {t.name for t in self.tensors}:
            raise ValueError("the model does not have the tensors of this space")
        flat = np.empty(self.size, dtype=np.float32)
        for spec, start in zip(self.tensors, self.tensor_starts[:-1], strict=True):
            tensor = tensors[spec.name]
            if tuple(tensor.shape) != spec.shape or tensor.dtype != np.float32:
                raise ValueError(f"{spec.name} is {tensor.dtype} {tensor.shape}, expected float32 {spec.shape}")
            flat[start : start + spec.size] = np.ascontiguousarray(tensor).reshape(-1)
        return flat

    def unflatten(self, flat_P: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Named views into ``flat_P`` (float32 [P]); nothing is copied."""
        assert flat_P.shape == (self.size,), (flat_P.shape, self.size)
        return {
            spec.name: flat_P[start : start + spec.size].reshape(spec.shape)
            for spec, start in zip(self.tensors, self.tensor_starts[:-1], strict=True)
        }

    def tensor_digests(self, flat_P: NDArray[np.float32]) -> list[str]:
        """BLAKE3 of every tensor's little-endian bytes, in the order of ``tensors``."""
        little = np.ascontiguousarray(flat_P, dtype="<f4")
        views = self.unflatten(little)
        return digest_each([views[t.name].reshape(-1).view(np.uint8).data for t in self.tensors])


def model_digest(space: ParameterSpace, tensor_digests: Iterable[str]) -> str:
    """Digest of a model: of the canonical list of (name, dtype, shape, digest)."""
    rows = zip(space.tensors, tensor_digests, strict=True)
    return digest_json([[t.name, t.dtype, list(t.shape), digest] for t, digest in rows])
