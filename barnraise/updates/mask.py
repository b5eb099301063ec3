"""A sparse mask that a run has agreed on: which few elements train, said once, so that updates are only values.

A mask is an update file of the role ``mask``: codec ``topk``, and every entry is 1. So it is as compact
as the support of an update, has one encoding, and is parsed by the same bounded code; its digest names
it. Of every chunk at most half can be in it.

An update under a mask carries the values of its entries, tensor by tensor in the order of the base, in
any codec for numbers. Where they lie costs no byte, and no update can say anything about other elements.

P  elements of a segment of the base
N  those of them in the mask

Source: Sung, Nair and Raffel 2021, "Training Neural Networks with Fixed Sparse Masks",
    https://arxiv.org/abs/2111.09839
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import NonCanonicalUpdateError, UnsupportedFormatError
from barnraise.update_config import CodecConfig
from barnraise.updates.container import Update, write_update
from barnraise.updates.scope import Read, Scope, placed
from barnraise.updates.space import ParameterSpace, TensorSpec
from barnraise.updates.support import Support
from barnraise.updates.topk import Entries, encode

__all__ = ["MASK_CODEC", "Mask", "write_mask"]

MASK_CODEC = CodecConfig(name="topk", k=2048)


@dataclass(frozen=True, eq=False)
class Mask:
    """A checked mask, and how updates travel under it.

    Attributes:
        whole: layout of the base.
        update: the file.
        per_tensor: entries of each tensor. firsts: entries before each segment, and all.
    """

    whole: ParameterSpace
    update: Update
    per_tensor: tuple[int, ...]
    firsts: tuple[int, ...]

    @classmethod
    def parse(cls, data: bytes | memoryview | mmap.mmap, whole: ParameterSpace) -> Mask:
        """Check a mask, one segment in memory at a time.

        Raises:
            UpdateError: not the one encoding of a mask for this layout.
        """
        update = Update.parse(data, whole, base_digest=None)
        if update.role != "mask" or update.codec != MASK_CODEC or update.carrier is not None:
            raise UnsupportedFormatError("this file is no mask; make one with: barnraise mask")
        firsts = [0]
        per_tensor = np.zeros(len(whole.tensors), dtype=np.int64)
        for segment in range(whole.segment_count):
            positions_N, values_N = update.sparse(segment)
            if (values_N != 1).any():
                raise NonCanonicalUpdateError("an entry of the mask is not 1. Make the mask again.")
            at_N = positions_N + whole.segment_range(segment)[0]
            per_tensor += np.diff(np.searchsorted(at_N, whole.tensor_starts))
            firsts.append(firsts[-1] + len(at_N))
        if not firsts[-1]:
            raise NonCanonicalUpdateError("the mask is empty. Make the mask again.")
        return cls(whole, update, tuple(per_tensor.tolist()), tuple(firsts))

    @property
    def digest(self) -> str:
        return self.update.digest

    @property
    def scope(self) -> Scope:
        return Scope(mask=self.digest)

    @property
    def chosen(self) -> tuple[bool, ...]:
        return tuple(count > 0 for count in self.per_tensor)

    @cached_property
    def space(self) -> ParameterSpace:
        """The values of the entries of each tensor; its names tell two masks apart."""
        pairs = zip(self.whole.tensors, self.per_tensor, strict=True)
        return ParameterSpace(
            tuple(TensorSpec(f"{spec.name} in {self.digest[:19]}", (count,)) for spec, count in pairs if count)
        )

    @property
    def target(self) -> ParameterSpace:
        return self.space

    def positions(self, segment: int) -> NDArray[np.int64]:
        """int64 [N], strictly increasing: the entries of a segment of the base."""
        return self.update.sparse(segment)[0]

    def take(self, segment: int, values_P: NDArray[np.float32]) -> NDArray[np.float32]:
        """The entries of a segment of the base, a new float32 [N]."""
        return values_P.take(self.positions(segment))

    def expand(self, segment: int, read: Read) -> NDArray[np.float32]:
        """A segment of the base, float32 [P]: values where the mask has entries, and zeros."""
        start, end = self.whole.segment_range(segment)
        return placed(end - start, self.positions(segment), self.values(segment, read))

    def values(self, segment: int, read: Read) -> NDArray[np.float32]:
        """The values of the entries of a segment of the base, float32 [N]."""
        return read(*self.firsts[segment : segment + 2])


def write_mask(whole: ParameterSpace, base_digest: str, positions: NDArray[np.int64]) -> bytes:
    """The file of a mask.

    Args:
        base_digest: model that it was made for; kept for people, updates to later releases use it too.
        positions: int64, strictly increasing, in the flat vector of ``whole``; at most half of each chunk.
    """
    segments = []
    for segment in range(whole.segment_count):
        start, end = whole.segment_range(segment)
        inside_N = positions[np.searchsorted(positions, start) : np.searchsorted(positions, end)] - start
        starts_C = whole.segment_chunk_starts(segment)
        counts_C = np.diff(np.searchsorted(inside_N, starts_C))
        places_N = inside_N - np.repeat(starts_C[:-1], counts_C)
        support = Support(
            counts_C.astype(np.uint32), np.zeros(len(counts_C), dtype=np.int32), places_N.astype(np.uint32), None
        )
        segments.append(encode(Entries(support, np.zeros(len(inside_N), dtype=bool), 0), starts_C, MASK_CODEC.k))
    return write_update(whole, base_digest, MASK_CODEC, segments, role="mask")
