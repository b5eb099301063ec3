"""What is to be merged and how, decided before anything is read.

Tensors are laid out as in the canonical parameter space (:mod:`barnraise.updates.space`):
sorted by name, cut into chunks, 256 chunks a segment. Where a tensor crosses a segment it is
measured in parts, exactly as in a round; so an offline merge of the same changes finds the
same numbers, to the last bit.

K  models
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from barnraise.updates.space import CHUNK, CHUNKS_PER_SEGMENT, TensorSpec
from merge.offline.tensors import TensorSource
from merge.rules import MergeRules

__all__ = ["Inputs", "MergedTensor", "OfflineMerge", "Treatment", "lay_out"]


@dataclass(frozen=True)
class Treatment:
    """How some of the tensors are merged.

    Attributes:
        weights: one for each of the K models.
        take: do not merge but copy, from model number ``take``, or from the base if it is -1. None merges.
    """

    rules: MergeRules
    weights: tuple[float, ...]
    take: int | None = None


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """One tensor of the result.

    Attributes:
        dtype: of the result. number: its place among all tensors, by name.
        place: of its first element in the flat vector. chunk: number of its first chunk.
        treatment: which of the job's treatments it gets.
    """

    name: str
    size: int
    shape: tuple[int, ...]
    dtype: str
    number: int
    place: int
    chunk: int
    treatment: int

    @property
    def cuts(self) -> list[tuple[int, int]]:
        """The parts that lie in one segment each, as ranges of elements."""
        per_segment = CHUNK * CHUNKS_PER_SEGMENT
        first = per_segment - CHUNK * (self.chunk % CHUNKS_PER_SEGMENT)
        ends = [0, *range(first, self.size, per_segment), self.size]
        return [(start, end) for start, end in pairwise(ends) if start < end]


@dataclass(frozen=True)
class OfflineMerge:
    """A whole merge: tensors, and what is done to which of them."""

    tensors: tuple[MergedTensor, ...]
    treatments: tuple[Treatment, ...]


@dataclass(frozen=True)
class Inputs:
    """Where the values come from.

    Attributes:
        models: K of them. base: what their changes are counted from; None merges the weights themselves.
        names: what to call the models in an error.
        fishers: diagonal Fishers by model, with the model's tensors; for strategies that use them.
        grams: Gram matrices by model, under the names of the weights; for strategies that use them.
        with_gram: tensors for which every model has a Gram matrix.
    """

    models: Sequence[TensorSource]
    base: TensorSource | None
    names: tuple[str, ...]
    fishers: Sequence[TensorSource] | None = None
    grams: Sequence[TensorSource] | None = None
    with_gram: frozenset[str] = frozenset()

    @property
    def sources(self) -> Sequence[TensorSource]:
        """Everything that a merged tensor is read from."""
        return self.models if self.base is None else [*self.models, self.base]

    def taken(self, take: int) -> TensorSource:
        """The source that :attr:`Treatment.take` means."""
        if take >= 0:
            return self.models[take]
        assert self.base is not None, "there is no base to take from"
        return self.base


def lay_out(specs: Iterable[tuple[TensorSpec, int]]) -> tuple[MergedTensor, ...]:
    """Give every tensor its place.

    Args:
        specs: name, shape and resulting type of each, with its treatment; only what can be merged.
    """
    tensors, place, chunk = [], 0, 0
    for number, (spec, treatment) in enumerate(sorted(specs)):
        tensors.append(MergedTensor(spec.name, spec.size, spec.shape, spec.dtype, number, place, chunk, treatment))
        place += spec.size
        chunk += -(-spec.size // CHUNK)
    return tuple(tensors)
