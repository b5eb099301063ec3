"""The second pass: combine, add to the base, round once, hand over. Block by block.

    rows -> strategy -> + base -> rounded to the result's type -> sink

What needs whole matrices (RegMean) takes one tensor at a time instead of a block.

K  models
B  elements of a block
O, I  rows and columns of a weight matrix
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from barnraise.errors import NonFiniteCheckpointError
from barnraise.updates.space import CHUNK, CHUNKS_PER_SEGMENT
from merge.measure import Piece
from merge.offline.job import Inputs, MergedTensor, OfflineMerge
from merge.offline.measuring import TensorPlan, needs_gram, passes, plan_tensors
from merge.offline.passes import Progress, over_tensors
from merge.offline.rows import BLOCK, RowReader, Workspace, as_float32
from merge.offline.tensors import DTYPES, TensorSink, TensorSource, all_finite, stored_bytes, stored_values
from merge.segment import SegmentUpdates, combine_segment
from merge.strategies.rule import MergesMatrices, SumsUpdates, UsesFisher

__all__ = ["buffer_bytes", "bytes_to_read", "merge_offline"]

TEMPORARIES = 24  # blocks that strategies hold at once, at most, beside the rows


def merge_offline(job: OfflineMerge, inputs: Inputs, sink: TensorSink, workers: int, progress: Progress) -> None:
    """Merge models that are at hand, in memory for a few blocks of each.

    The result does not depend on ``workers``.

    Raises:
        MergeError: the strategy cannot do it.
        NonFiniteCheckpointError: an input or the result is not finite.
        Whatever the sources and the sink raise.
    """
    plans = plan_tensors(job, inputs, workers, progress)
    merger = _Merger(job, inputs, plans, sink, progress, RowReader(inputs, progress))
    over_tensors(job.tensors, merger.merge, workers, progress)


def bytes_to_read(job: OfflineMerge, inputs: Inputs) -> int:
    """What ``progress`` will have been told in the end."""
    total = 0
    for tensor in job.tensors:
        treatment = job.treatments[tensor.treatment]
        sources = inputs.sources if treatment.take is None else [inputs.taken(treatment.take)]
        total += passes(treatment) * sum(_size_bytes(tensor, source) for source in sources)
    return total


def buffer_bytes(job: OfflineMerge, inputs: Inputs, workers: int) -> int:
    """About what a merge allocates at once: blocks of every model for every thread, or whole matrices."""
    largest = max((tensor.size for tensor in job.tensors), default=0)
    segment = CHUNK * CHUNKS_PER_SEGMENT if any(map(needs_gram, job.treatments)) else BLOCK
    blocks = 4 * (len(inputs.models) + 1) * min(segment, largest) + 4 * TEMPORARIES * min(BLOCK, largest)
    matrices = [
        4 * (len(inputs.models) + 3) * tensor.size + 12 * len(inputs.models) * tensor.shape[1] ** 2
        for tensor in job.tensors
        if tensor.name in inputs.with_gram
    ]
    return workers * max([blocks, *matrices])


def _size_bytes(tensor: MergedTensor, source: TensorSource) -> int:
    return tensor.size * DTYPES[source.dtype(tensor.name)].itemsize


@dataclass(frozen=True)
class _Merger:
    """The second pass over one tensor after another, on several threads."""

    job: OfflineMerge
    inputs: Inputs
    plans: Mapping[int, TensorPlan]
    sink: TensorSink
    progress: Progress
    reader: RowReader

    def merge(self, tensor: MergedTensor) -> None:
        treatment = self.job.treatments[tensor.treatment]
        strategy = treatment.rules.strategy
        with self.reader.workspace() as space:
            if treatment.take is not None:
                self._copy(tensor, self.inputs.taken(treatment.take), space)
            elif isinstance(strategy, MergesMatrices) and tensor.name in self.inputs.with_gram:
                self._merge_matrix(tensor, strategy)
            else:
                for start in range(0, tensor.size, BLOCK):
                    self._merge_block(tensor, start, min(tensor.size, start + BLOCK), space)

    def _merge_block(self, tensor: MergedTensor, start: int, end: int, space: Workspace) -> None:
        treatment = self.job.treatments[tensor.treatment]
        rules, decided = treatment.rules, self.plans[tensor.number]
        # What is not finite stays so in a sum with factors above 0: looking at the sum is enough.
        summed = isinstance(rules.strategy, SumsUpdates) and min(treatment.weights) > 0
        block = self.reader.read(tensor.name, start, end, space, unchecked=summed)
        updates = SegmentUpdates(
            deltas=block.rows,
            pieces=[Piece(tensor.number, 0, end - start, tensor.place + start)],
            magnitudes=None if decided.magnitudes is None else {tensor.number: decided.magnitudes},
            fishers=self._fishers(tensor, start, end) if isinstance(rules.strategy, UsesFisher) else None,
        )
        merged_B = combine_segment(updates, decided.plan, rules)
        if summed and not all_finite(merged_B):
            self.reader.check(block.rows, tensor.name, start, end)
        self._put(tensor, start, merged_B if block.base_B is None else merged_B.add_(block.base_B))
        self.reader.release(tensor.name, start, end)

    def _fishers(self, tensor: MergedTensor, start: int, end: int) -> list[Tensor]:
        assert self.inputs.fishers is not None, "asked for before the merge began"
        fishers = [stored_values(fisher, tensor.name, start, end).float() for fisher in self.inputs.fishers]
        for name, fisher_B in zip(self.inputs.names, fishers, strict=True):
            if not all_finite(fisher_B) or bool((fisher_B < 0).any()):
                raise NonFiniteCheckpointError(
                    f"the Fisher of {name} has a value in {tensor.name!a} that is negative or not finite"
                )
        return fishers

    def _merge_matrix(self, tensor: MergedTensor, strategy: MergesMatrices) -> None:
        """Whole matrices at once: RegMean solves for all of a row's elements together."""
        rows, inputs_size = tensor.shape
        block = self.reader.read(tensor.name, 0, tensor.size, Workspace())
        assert self.inputs.grams is not None, "with_gram names tensors that have some"
        grams = [
            stored_values(gram, tensor.name, 0, inputs_size * inputs_size).float().view(inputs_size, inputs_size)
            for gram in self.inputs.grams
        ]
        weights_K = self.plans[tensor.number].plan.of(tensor.number).weights_L.to(torch.float32)
        deltas = [row_P.view(rows, inputs_size) for row_P in block.rows]
        merged_P = strategy.combine_matrices(deltas, grams, weights_K).reshape(-1)
        self._put(tensor, 0, merged_P if block.base_B is None else merged_P + block.base_B)
        self.reader.release(tensor.name, 0, tensor.size)

    def _copy(self, tensor: MergedTensor, source: TensorSource, space: Workspace) -> None:
        for start in range(0, tensor.size, BLOCK):
            end = min(tensor.size, start + BLOCK)
            self.progress.advance((end - start) * DTYPES[source.dtype(tensor.name)].itemsize)
            self._put(tensor, start, as_float32(source, tensor.name, start, end, space, 0))
            source.release(tensor.name, start, end)

    def _put(self, tensor: MergedTensor, start: int, values_B: Tensor) -> None:
        rounded_B = values_B.to(DTYPES[tensor.dtype])
        if not all_finite(rounded_B):
            raise NonFiniteCheckpointError(
                f"tensor {tensor.name!a}: the result is not finite as {tensor.dtype}, the largest value is "
                f"{float(values_B.abs().max()):g}; nothing was written. Choose another --dtype, or leave a model out"
            )
        self.sink.put(tensor.name, start, stored_bytes(rounded_B))
