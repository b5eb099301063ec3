"""What the strategies of rounds make of a block of models: the part of an offline merge that needs torch.

K  models
B  elements of a block
O, I  rows and columns of a weight matrix
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.errors import NonFiniteCheckpointError
from barnraise.updates import Piece
from merge.offline.job import Inputs, MergedTensor, OfflineMerge
from merge.offline.measuring import TensorPlan
from merge.offline.rows import Block
from merge.offline.tensors import TensorSource, stored_floats
from merge.segment import SegmentUpdates, combine_segment
from merge.strategies.rule import MergesMatrices, UsesFisher

__all__ = ["Combiner"]


@dataclass(frozen=True)
class Combiner:
    """Strategies at work, with what was decided about each tensor."""

    job: OfflineMerge
    inputs: Inputs
    plans: Mapping[int, TensorPlan]

    def takes_whole(self, tensor: MergedTensor) -> bool:
        """Whether a tensor is combined at once and not block by block."""
        treatment = self.job.treatments[tensor.treatment]
        matrices = treatment.take is None and isinstance(treatment.rules.strategy, MergesMatrices)
        return matrices and tensor.name in self.inputs.with_gram

    def combine(self, tensor: MergedTensor, start: int, block: Block) -> NDArray[np.float32]:
        """The change that the strategy makes of a block, or of a whole matrix, float32 [B]; in memory of its own.

        Raises:
            MergeError: the strategy cannot do it.
            NonFiniteCheckpointError: a Fisher is negative or not finite.
        """
        rules, decided = self.job.treatments[tensor.treatment].rules, self.plans[tensor.number]
        rows = [torch.from_numpy(row_B) for row_B in block.rows]
        if self.takes_whole(tensor):
            assert isinstance(rules.strategy, MergesMatrices)
            return self._matrix(tensor, rules.strategy, rows)
        end = start + len(rows[0])
        updates = SegmentUpdates(
            deltas=rows,
            pieces=[Piece(tensor.number, 0, end - start, tensor.place + start)],
            magnitudes=None if decided.magnitudes is None else {tensor.number: decided.magnitudes},
            fishers=self._fishers(tensor, start, end) if isinstance(rules.strategy, UsesFisher) else None,
        )
        merged_B: NDArray[np.float32] = combine_segment(updates, decided.plan, rules).numpy()
        return merged_B

    def _fishers(self, tensor: MergedTensor, start: int, end: int) -> list[Tensor]:
        assert self.inputs.fishers is not None, "asked for before the merge began"
        fishers = [_floats(fisher, tensor.name, start, end) for fisher in self.inputs.fishers]
        for name, fisher_B in zip(self.inputs.names, fishers, strict=True):
            if not bool(torch.isfinite(fisher_B).all()) or bool((fisher_B < 0).any()):
                raise NonFiniteCheckpointError(
                    f"the Fisher of {name} has a value in {tensor.name!a} that is negative or not finite"
                )
        return fishers

    def _matrix(self, tensor: MergedTensor, strategy: MergesMatrices, rows: list[Tensor]) -> NDArray[np.float32]:
        """A whole matrix at once: RegMean solves for all of a row's elements together."""
        outputs, inputs = tensor.shape
        assert self.inputs.grams is not None, "with_gram names tensors that have some"
        grams = [_floats(gram, tensor.name, 0, inputs * inputs).view(inputs, inputs) for gram in self.inputs.grams]
        weights_K = self.plans[tensor.number].plan.of(tensor.number).weights_L.to(torch.float32)
        deltas = [row_P.view(outputs, inputs) for row_P in rows]
        merged_P: NDArray[np.float32] = strategy.combine_matrices(deltas, grams, weights_K).reshape(-1).numpy()
        return merged_P


def _floats(source: TensorSource, name: str, start: int, end: int) -> Tensor:
    return torch.from_numpy(stored_floats(source, name, start, end, np.empty(end - start, dtype=np.float32)))
