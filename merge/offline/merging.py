"""The second pass: combine, add to the base, round once, hand over. Block by block.

    rows -> strategy -> + base -> rounded to the result's type -> sink

What needs whole matrices (RegMean) takes one tensor at a time instead of a block. Models that
are only added up or copied need no strategy to look at tensors, so torch is not imported for
them, which would take longer and more memory than such a merge; :mod:`merge.offline.combining`
has the rest.

K  models
B  elements of a block
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from barnraise import native
from barnraise.errors import NonFiniteCheckpointError
from barnraise.native import dense
from barnraise.updates.space import CHUNK, CHUNKS_PER_SEGMENT
from merge.offline.job import Inputs, MergedTensor, OfflineMerge
from merge.offline.needs import needs_gram, needs_tensors, passes, sum_factors
from merge.offline.passes import Progress, one_of_several, over_tensors
from merge.offline.rows import BLOCK, Block, RowReader, Workspace
from merge.offline.tensors import ITEM_BYTES, TensorSink, TensorSource, all_finite, narrow, stored_floats

if TYPE_CHECKING:
    from merge.offline.combining import Combiner

__all__ = ["buffer_bytes", "bytes_to_read", "merge_offline"]

Floats = NDArray[np.float32]

TEMPORARIES = 24  # blocks that strategies hold at once, at most, beside the rows
SUM_TEMPORARIES = 2


def merge_offline(job: OfflineMerge, inputs: Inputs, sink: TensorSink, workers: int, progress: Progress) -> None:
    """Merge models that are at hand, in memory for a few blocks of each.

    The result does not depend on ``workers``.

    Raises:
        MergeError: the strategy cannot do it.
        NonFiniteCheckpointError: an input or the result is not finite.
        Whatever the sources and the sink raise.
    """
    combiner, prepare = None, one_of_several
    if any(needs_tensors(job.treatments[tensor.treatment]) for tensor in job.tensors):
        from merge.offline.combining import Combiner
        from merge.offline.measuring import one_of_several as prepare
        from merge.offline.measuring import plan_tensors

        combiner = Combiner(job, inputs, plan_tensors(job, inputs, workers, progress))
    sums = {n: found for n, one in enumerate(job.treatments) if (found := sum_factors(one)) is not None}
    merger = _Merger(job, inputs, sink, progress, RowReader(inputs, progress), sums, combiner)
    over_tensors(job.tensors, merger.merge, workers, progress, prepare)


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
    temporaries = TEMPORARIES if any(map(needs_tensors, job.treatments)) else SUM_TEMPORARIES
    blocks = 4 * (len(inputs.models) + 1) * min(segment, largest) + 4 * temporaries * min(BLOCK, largest)
    matrices = [
        4 * (len(inputs.models) + 3) * tensor.size + 12 * len(inputs.models) * tensor.shape[1] ** 2
        for tensor in job.tensors
        if tensor.name in inputs.with_gram
    ]
    return workers * max([blocks, *matrices])


def _size_bytes(tensor: MergedTensor, source: TensorSource) -> int:
    return tensor.size * ITEM_BYTES[source.dtype(tensor.name)]


@dataclass(frozen=True)
class _Merger:
    """The second pass over one tensor after another, on several threads.

    Attributes:
        sums: by number of the treatment, what to multiply models by that are only added up.
        combiner: for everything else; None if there is nothing else.
    """

    job: OfflineMerge
    inputs: Inputs
    sink: TensorSink
    progress: Progress
    reader: RowReader
    sums: Mapping[int, list[float]]
    combiner: Combiner | None

    def merge(self, tensor: MergedTensor) -> None:
        treatment = self.job.treatments[tensor.treatment]
        with self.reader.workspace() as space:
            if treatment.take is not None:
                self._copy(tensor, self.inputs.taken(treatment.take), space)
            elif self.combiner is not None and self.combiner.takes_whole(tensor):
                self._merge_range(tensor, 0, tensor.size, Workspace())
            else:
                for start in range(0, tensor.size, BLOCK):
                    self._merge_range(tensor, start, min(tensor.size, start + BLOCK), space)

    def _merge_range(self, tensor: MergedTensor, start: int, end: int, space: Workspace) -> None:
        # What is not finite stays so in a sum with factors above 0: looking at the sum is enough.
        factors = self.sums.get(tensor.treatment)
        unchecked = factors is not None and min(self.job.treatments[tensor.treatment].weights) > 0
        block = self.reader.read(tensor.name, start, end, space, unchecked=unchecked)
        merged_B = self._merged(tensor, start, block, space)
        if block.base_B is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                merged_B += block.base_B
        self._put(tensor, start, merged_B, block if unchecked else None)
        self.reader.release(tensor.name, start, end)

    def _merged(self, tensor: MergedTensor, start: int, block: Block, space: Workspace) -> Floats:
        """What the strategy makes of a block, float32 [B], that may be written to."""
        factors = self.sums.get(tensor.treatment)
        if factors is None or not native.available():
            assert self.combiner is not None, "asked for before the merge began"
            return self.combiner.combine(tensor, start, block)
        merged_B = space.buffer(len(self.inputs.models) + 1, len(block.rows[0]))
        used = [(row_B, factor) for row_B, factor in zip(block.rows, factors, strict=True) if np.float32(factor) != 0]
        if not used:
            merged_B[:] = 0.0
            return merged_B
        addresses = [row_B.ctypes.data for row_B, _ in used]
        rows = dense.Rows(addresses, [dense.KINDS["float32"]] * len(used), len(merged_B))
        dense.weighted_sum(rows, [factor for _, factor in used], merged_B.ctypes.data)
        return merged_B

    def _copy(self, tensor: MergedTensor, source: TensorSource, space: Workspace) -> None:
        for start in range(0, tensor.size, BLOCK):
            end = min(tensor.size, start + BLOCK)
            self.progress.advance((end - start) * ITEM_BYTES[source.dtype(tensor.name)])
            self._put(tensor, start, stored_floats(source, tensor.name, start, end, space.buffer(0, end - start)))
            source.release(tensor.name, start, end)

    def _put(self, tensor: MergedTensor, start: int, values_B: Floats, unchecked: Block | None = None) -> None:
        data = narrow(values_B, tensor.dtype)
        if not all_finite(data, tensor.dtype):
            if unchecked is not None:
                self.reader.check(unchecked.rows, tensor.name, start, start + len(values_B))
            raise NonFiniteCheckpointError(
                f"tensor {tensor.name!a}: the result is not finite as {tensor.dtype}, the largest value is "
                f"{float(np.abs(values_B).max()):g}; nothing was written. Choose another --dtype, or leave a model out"
            )
        self.sink.put(tensor.name, start, data)
