"""Low-rank factors in place of matrices: what an update carries where contributors train LoRA.

Every chosen matrix of R rows and C columns travels as ``a`` [r, C] and ``b`` [R, r], r being the
run's rank, or a smaller side of the matrix. Their flat space is encoded like any other, so factors
may be float32 or a few bits, and their bytes have one encoding. The change is ``b @ a``, computed
here and nowhere else, in one order: the products of the first component, plus those of the second,
and so on, every product and every sum rounded to float32 on its own. A matrix product of a library
would add in an order of its own, and give other bits on another machine.

Whatever merges updates sees this change, segment by segment, and never the factors: the mean of
products is not the product of means, and what averaging factors leaves out is no small thing.

A segment needs all of ``a`` and some rows of ``b`` of the matrices in it; beside the segment, memory
for two of their rows is needed, and for one decoded segment of factors.

P  elements of a segment of the base
R, C  rows and columns of a matrix, or of the part of it that is wanted
K  components

Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685; Singhal et al. 2024, "FedEx-LoRA",
    https://arxiv.org/abs/2410.09432, for what averaging factors leaves out
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import NonFiniteUpdateError
from barnraise.updates.part import Part
from barnraise.updates.scope import Read, Scope
from barnraise.updates.space import ParameterSpace, TensorSpec

__all__ = ["RANK_MAX", "Factors", "product_of"]

RANK_MAX = 256
BLOCK = 1 << 15  # elements that are worked on at once: they stay in the second-level cache


@dataclass(frozen=True)
class Factors:
    """How factors stand for the change of some matrices.

    Attributes:
        part: the matrices, all of them with elements.
        rank: r, in [1, RANK_MAX].
    """

    part: Part
    rank: int

    def __post_init__(self) -> None:
        assert 1 <= self.rank <= RANK_MAX, self.rank
        assert all(len(spec.shape) == 2 and spec.size for spec in self.part.space.tensors), "not only matrices"

    @property
    def scope(self) -> Scope:
        scope = Scope() if all(self.part.chosen) else self.part.scope
        return replace(scope, rank=self.rank)

    @property
    def chosen(self) -> tuple[bool, ...]:
        return self.part.chosen

    @property
    def target(self) -> ParameterSpace:
        return self.part.space

    @cached_property
    def space(self) -> ParameterSpace:
        """The factors: ``NAME/a`` and ``NAME/b`` of every matrix."""
        found = []
        for spec in self.part.space.tensors:
            rank = min(self.rank, *spec.shape)
            found += [TensorSpec(f"{spec.name}/a", (rank, spec.shape[1]))]
            found += [TensorSpec(f"{spec.name}/b", (spec.shape[0], rank))]
        return ParameterSpace.of(found)

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where each factor begins."""
        return {spec.name: int(at) for spec, at in zip(self.space.tensors, self.space.tensor_starts[:-1], strict=True)}

    def expand(self, segment: int, read: Read) -> NDArray[np.float32]:
        """The change of a segment of the base, float32 [P].

        Raises:
            NonFiniteUpdateError: a product is beyond float32.
        """
        whole = self.part.whole
        first, last = whole.segment_range(segment)
        out_P = np.zeros(last - first, dtype=np.float32)
        for piece in self.part.pieces(segment):
            begin = piece.place - int(whole.tensor_starts[piece.tensor])
            end = begin + piece.end - piece.start
            out_P[piece.start : piece.end] = self._change(whole.tensors[piece.tensor], begin, end, read)
        if not np.isfinite(out_P).all():
            raise NonFiniteUpdateError(f"a product of factors is beyond float32 in segment {segment}. Train again.")
        return out_P

    def values(self, segment: int, read: Read) -> NDArray[np.float32]:
        """The change of the matrices in a segment of the base, float32 [N]."""
        return self.expand(segment, read)[self.positions(segment)]

    def take(self, segment: int, values_P: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.part.take(segment, values_P)

    def positions(self, segment: int) -> NDArray[np.int64]:
        return self.part.positions(segment)

    def _change(self, spec: TensorSpec, begin: int, end: int, read: Read) -> NDArray[np.float32]:
        """The elements ``[begin, end)`` of one matrix."""
        columns, rank = spec.shape[1], min(self.rank, *spec.shape)
        top, bottom = begin // columns, -(-end // columns)
        a_at, b_at = self._places[f"{spec.name}/a"], self._places[f"{spec.name}/b"]
        a_KC = read(a_at, a_at + rank * columns).reshape(rank, columns)
        b_RK = read(b_at + top * rank, b_at + bottom * rank).reshape(bottom - top, rank)
        return product_of(b_RK, a_KC).reshape(-1)[begin - top * columns : end - top * columns]


def product_of(b_RK: NDArray[np.float32], a_KC: NDArray[np.float32]) -> NDArray[np.float32]:
    """``b @ a``, float32 [R, C], added up component by component; may hold infinities."""
    out_RC = np.empty((len(b_RK), a_KC.shape[1]), dtype=np.float32)
    step = max(1, BLOCK // max(1, out_RC.shape[1]))
    room_RC = np.empty((step, out_RC.shape[1]), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for top in range(0, len(out_RC), step):
            sums_RC = out_RC[top : top + step]
            terms_RC = room_RC[: len(sums_RC)]
            np.multiply(b_RK[top : top + step, :1], a_KC[0], out=sums_RC)
            for k in range(1, len(a_KC)):
                np.multiply(b_RK[top : top + step, k : k + 1], a_KC[k], out=terms_RC)
                np.add(sums_RC, terms_RC, out=sums_RC)
    return out_RC
