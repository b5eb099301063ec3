"""The first pass: what must be known of whole tensors, for the strategies that ask.

Only what is needed is measured: inner products for those that weigh models by their
distances, magnitudes for those that keep the largest elements. Most need neither. A round
knows magnitudes to 8 significant bits; here the files can be read once more, so a strategy
that keeps a share of the elements by size keeps exactly that many (and ties).

K  models
B  elements of a block
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from barnraise.native import use_threads
from merge.gram import gram
from merge.magnitudes import MagnitudeCounter, MagnitudeRefiner, Magnitudes
from merge.measure import TensorMeasure
from merge.offline.job import Inputs, MergedTensor, OfflineMerge, Treatment
from merge.offline.needs import CutsBySize, needs_gram, needs_magnitudes, passes
from merge.offline.passes import Progress, over_tensors
from merge.offline.rows import BLOCK, RowReader
from merge.plan import MergePlan, plan_merge

__all__ = ["TensorPlan", "one_of_several", "plan_tensors"]


@dataclass(frozen=True)
class TensorPlan:
    """What was decided for one tensor, with the magnitudes of its K rows if they are needed."""

    plan: MergePlan
    magnitudes: Sequence[Magnitudes] | None


def plan_tensors(job: OfflineMerge, inputs: Inputs, workers: int, progress: Progress) -> dict[int, TensorPlan]:
    """Measure, and decide for every tensor number. Each treatment is a merge of its own: distances are of its tensors.

    Raises:
        NotEnoughUpdatesError, MergeError: as :func:`merge.plan.plan_merge`.
        NonFiniteCheckpointError: an input is not finite.
    """
    reader = RowReader(inputs, progress)

    def measure(tensor: MergedTensor) -> TensorMeasure:
        return _measure(tensor, job.treatments[tensor.treatment], reader, len(inputs.models))

    asking = [tensor for tensor in job.tensors if passes(job.treatments[tensor.treatment]) > 1]
    measured = over_tensors(asking, measure, workers, progress, one_of_several)
    plans: dict[int, TensorPlan] = {}
    for index, treatment in enumerate(job.treatments):
        own = [tensor.number for tensor in job.tensors if tensor.treatment == index]
        if treatment.take is not None or not own:
            continue
        known = {number: measured[number] for number in own if number in measured}
        plan = plan_merge(known, treatment.weights, treatment.rules)
        for number in own:
            magnitudes = known[number].magnitudes if needs_magnitudes(treatment) else None
            plans[number] = TensorPlan(plan, magnitudes)
    return plans


def _measure(tensor: MergedTensor, treatment: Treatment, reader: RowReader, models: int) -> TensorMeasure:
    gram_KK = torch.zeros((models, models), dtype=torch.float64)
    none_KK = torch.zeros((models, models), dtype=torch.int64)
    counters = [MagnitudeCounter() for _ in range(models)] if needs_magnitudes(treatment) else []
    with_gram = needs_gram(treatment)
    for start, rows in _rows(tensor, tensor.cuts if with_gram else _blocks(tensor.size), reader):
        if with_gram:  # added up part by part, as a round does
            gram_KK = gram(rows) if start == 0 else torch.add(gram_KK, gram(rows))
        for counter, row_B in zip(counters, rows, strict=False):
            counter.add(row_B)
    magnitudes = [counter.magnitudes() for counter in counters]
    if magnitudes and tensor.size and isinstance(treatment.rules.strategy, CutsBySize):
        cuts = treatment.rules.strategy.cuts(tensor.size)
        refiners = [MagnitudeRefiner(coarse, cuts) for coarse in magnitudes]
        for _, rows in _rows(tensor, _blocks(tensor.size), reader):
            for refiner, row_B in zip(refiners, rows, strict=True):
                refiner.add(row_B)
        magnitudes = [refiner.magnitudes() for refiner in refiners]
    return TensorMeasure(gram_KK, none_KK, none_KK, tuple(magnitudes))


def _rows(
    tensor: MergedTensor, ranges: Iterable[tuple[int, int]], reader: RowReader
) -> Iterator[tuple[int, list[Tensor]]]:
    """The tensor's rows, a range of elements after the other, each with where it starts."""
    with reader.workspace() as space:
        for start, end in ranges:
            rows = reader.read(tensor.name, start, end, space).rows
            yield start, [torch.from_numpy(row_B) for row_B in rows]
            reader.release(tensor.name, start, end)


def _blocks(size: int) -> list[tuple[int, int]]:
    return [(start, min(size, start + BLOCK)) for start in range(0, size, BLOCK)]


def one_of_several() -> None:
    """A thread of a pool shares nothing out again, so what a library sums does not depend on their number."""
    torch.set_num_threads(1)
    use_threads(1)
