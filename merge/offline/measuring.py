"""The first pass: what must be known of whole tensors, for the strategies that ask.

Only what is needed is measured: inner products for those that weigh models by their
distances, magnitudes for those that keep the largest elements. Most need neither.

K  models
B  elements of a block
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from merge.gram import gram
from merge.magnitudes import Magnitudes
from merge.measure import TensorMeasure
from merge.offline.job import Inputs, MergedTensor, OfflineMerge, Treatment
from merge.offline.passes import Progress, over_tensors
from merge.offline.rows import BLOCK, RowReader
from merge.plan import MergePlan, plan_merge
from merge.strategies.rule import PrunesUpdates, WeighsUpdates

__all__ = ["TensorPlan", "measured_tensors", "needs_gram", "needs_magnitudes", "plan_tensors"]


@dataclass(frozen=True)
class TensorPlan:
    """What was decided for one tensor, with the magnitudes of its K rows if they are needed."""

    plan: MergePlan
    magnitudes: Sequence[Magnitudes] | None


def needs_gram(treatment: Treatment) -> bool:
    rules = treatment.rules
    weighs = isinstance(rules.strategy, WeighsUpdates) or bool(rules.before) or rules.clip_norm_at is not None
    return treatment.take is None and weighs


def needs_magnitudes(treatment: Treatment) -> bool:
    strategy = treatment.rules.strategy
    return treatment.take is None and isinstance(strategy, PrunesUpdates) and strategy.by_magnitude


def measured_tensors(job: OfflineMerge) -> list[MergedTensor]:
    """Those that must be read twice."""
    asking = [needs_gram(treatment) or needs_magnitudes(treatment) for treatment in job.treatments]
    return [tensor for tensor in job.tensors if asking[tensor.treatment]]


def plan_tensors(job: OfflineMerge, inputs: Inputs, workers: int, progress: Progress) -> dict[int, TensorPlan]:
    """Measure, and decide for every tensor number. Each treatment is a merge of its own: distances are of its tensors.

    Raises:
        NotEnoughUpdatesError, MergeError: as :func:`merge.plan.plan_merge`.
        NonFiniteCheckpointError: an input is not finite.
    """
    reader = RowReader(inputs, progress)

    def measure(tensor: MergedTensor) -> TensorMeasure:
        return _measure(tensor, job.treatments[tensor.treatment], reader, len(inputs.models))

    measured = over_tensors(measured_tensors(job), measure, workers, progress)
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
    counts: list[list[Magnitudes]] = [[] for _ in range(models)]
    with_gram, with_magnitudes = needs_gram(treatment), needs_magnitudes(treatment)
    with reader.workspace() as space:
        for start, end in tensor.cuts if with_gram else _blocks(tensor.size):
            rows = reader.read(tensor.name, start, end, space).rows
            if with_gram:
                gram_KK = _plus(gram_KK, gram(rows), first=start == 0)
            for k, row_B in enumerate(rows if with_magnitudes else ()):
                counts[k].append(Magnitudes.of(row_B))
            reader.release(tensor.name, start, end)
    magnitudes = tuple(Magnitudes.total(of_model) for of_model in counts if of_model)
    return TensorMeasure(gram_KK, none_KK, none_KK, magnitudes)


def _plus(total_KK: Tensor, part_KK: Tensor, *, first: bool) -> Tensor:
    """As a round adds up the parts of a tensor."""
    return part_KK if first else torch.add(total_KK, part_KK)


def _blocks(size: int) -> list[tuple[int, int]]:
    return [(start, min(size, start + BLOCK)) for start in range(0, size, BLOCK)]
