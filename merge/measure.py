"""What must be known of whole updates before they are merged, measured piece by piece.

A piece is the part of one tensor that lies in one segment. What is measured of pieces adds
up to tensors, and tensors to the model, always in the same order; so it does not matter
where the pieces were measured. Only inner products of the *updates* are taken, in float64:
distances between whole models would lose the difference that matters in the last digits.

K  updates in the round, in the order of their digests
T  tensors of the model, in the order of the parameter space
P  elements of a segment
W  words of 64 elements
L  updates from the i-th on
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.updates.space import Piece
from merge.gram import gram
from merge.magnitudes import Magnitudes

__all__ = ["Measured", "TensorMeasure", "measure_pieces", "total"]


@dataclass(frozen=True)
class TensorMeasure:
    """What the updates have to do with each other in one tensor, or in a part of it.

    Attributes:
        gram_KK: float64, inner products of the updates.
        both_KK: int64, elements that both updates change; on the diagonal, that the update changes.
        opposed_KK: int64, those of them that they change in opposite directions.
        magnitudes: of every update, if they were asked for.
    """

    gram_KK: Tensor
    both_KK: Tensor
    opposed_KK: Tensor
    magnitudes: tuple[Magnitudes, ...] = ()

    def plus(self, other: TensorMeasure) -> TensorMeasure:
        """Of both parts together; the part that lies first comes first."""
        pairs = zip(self.magnitudes, other.magnitudes, strict=True)
        return TensorMeasure(
            torch.add(self.gram_KK, other.gram_KK),
            torch.add(self.both_KK, other.both_KK),
            torch.add(self.opposed_KK, other.opposed_KK),
            tuple(Magnitudes.total(pair) for pair in pairs),
        )


Measured = Mapping[int, TensorMeasure]
"""By number of the tensor."""


def measure_pieces(deltas: Sequence[Tensor], pieces: Sequence[Piece], *, magnitudes: bool) -> dict[int, TensorMeasure]:
    """Measure a segment.

    Args:
        deltas: K tensors float32 [P], decoded updates, finite, in the order of their digests.
        pieces: that make up the segment, at most one of each tensor.
        magnitudes: count magnitudes too.
    """
    return {piece.tensor: _measure([d[piece.start : piece.end] for d in deltas], magnitudes) for piece in pieces}


def total(parts: Sequence[Measured]) -> dict[int, TensorMeasure]:
    """Of all segments together, given in their order."""
    whole: dict[int, TensorMeasure] = {}
    for part in parts:
        for tensor, found in part.items():
            whole[tensor] = whole[tensor].plus(found) if tensor in whole else found
    return whole


def _measure(rows: Sequence[Tensor], magnitudes: bool) -> TensorMeasure:
    both_KK, opposed_KK = _overlaps(rows)
    counts = tuple(Magnitudes.of(row_P) for row_P in rows) if magnitudes else ()
    return TensorMeasure(gram(rows), both_KK, opposed_KK, counts)


def _overlaps(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """int64 [K, K] each: elements that both change, and that they change in opposite directions.

    A bit an element says where a row is above zero, another where it is below: 64 elements are compared at once.
    """
    above_KW = np.stack([_packed(row_P > 0) for row_P in rows])
    below_KW = np.stack([_packed(row_P < 0) for row_P in rows])
    changed_KW = above_KW | below_KW
    both_KK, opposed_KK = np.zeros((2, len(rows), len(rows)), dtype=np.int64)
    for i in range(len(rows)):
        opposed_LW = (above_KW[i] & below_KW[i:]) | (below_KW[i] & above_KW[i:])
        both_KK[i, i:] = both_KK[i:, i] = _counted(changed_KW[i] & changed_KW[i:])
        opposed_KK[i, i:] = opposed_KK[i:, i] = _counted(opposed_LW)
    return torch.from_numpy(both_KK), torch.from_numpy(opposed_KK)


def _packed(mask_P: Tensor) -> NDArray[np.uint64]:
    """A bit an element, uint64 [W]; zeros fill the last word."""
    bits = np.packbits(mask_P.cpu().numpy())
    words_W = np.zeros(-(-len(bits) // 8), dtype=np.uint64)
    words_W.view(np.uint8)[: len(bits)] = bits
    return words_W


def _counted(words_LW: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Ones in each row, int64 [L]."""
    counts_L: NDArray[np.int64] = np.bitwise_count(words_LW).sum(axis=-1, dtype=np.int64)
    return counts_L
