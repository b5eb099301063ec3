"""Where updates get in each other's way: what a version control system calls a conflict, in numbers.

Two updates overlap where both change an element, and disagree where they change it in
opposite directions. Independent updates disagree on half of what they share, and share what
chance lets them share; the report sets that beside what was found. The cosine says the same
of whole tensors and weighs elements by how far they are moved: 1 is agreement, 0 indifference,
below 0 the updates undo each other.

Everything follows from what :mod:`merge.measure` counted; nothing is read again. A report
names the worst few and sums up the rest, so its size does not grow with the model.

K  updates, in the order of their digests
T  tensors of the model
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from barnraise.updates.space import TensorSpec
from merge.exact import tree_sum
from merge.measure import Measured, TensorMeasure

__all__ = ["Agreement", "Conflicts", "PairConflict", "TensorConflict", "UpdateConflict", "conflicts"]

WORST = 8


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far updates agree, over some pairs of them. None where there was nothing to compare.

    Attributes:
        overlap: of what the smaller update of a pair changes, the share that the other changes too.
        expected_overlap: what that would be if supports were drawn independently, tensor by tensor.
        opposed: of what both change, the share that they change in opposite directions.
        cosine: mean over the pairs.
    """

    overlap: float | None
    expected_overlap: float | None
    opposed: float | None
    cosine: float | None


@dataclass(frozen=True, slots=True)
class TensorConflict:
    """A tensor, over all pairs of updates."""

    tensor: str
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class PairConflict:
    """Two updates, over the whole model."""

    first: str
    second: str
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class UpdateConflict:
    """One update with all others, over the whole model. ``changed`` counts its elements that are not zero."""

    update: str
    changed: int
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class Conflicts:
    """A report.

    Attributes:
        pairs, tensors: how many were compared.
        overall: all pairs, whole model.
        updates: each with the others.
        worst_tensors, worst_pairs: at most ``WORST``, lowest cosine first.
    """

    pairs: int
    tensors: int
    overall: Agreement
    updates: tuple[UpdateConflict, ...]
    worst_tensors: tuple[TensorConflict, ...]
    worst_pairs: tuple[PairConflict, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def conflicts(
    measured: Measured, tensors: Sequence[TensorSpec], updates: Sequence[str], reach: Sequence[int] | None = None
) -> Conflicts:
    """Report on the updates that were measured.

    Args:
        measured: of every tensor that has elements.
        tensors: all of the model, in the order of the parameter space.
        updates: K names.
        reach: how many elements of each tensor updates can change at all, where these are the same ones for every
            update; None for all. Chance has only those to choose from.
    """
    count = len(updates)
    sizes = [tensor.size for tensor in tensors] if reach is None else reach
    tables = {number: _Table.of(found, sizes[number]) for number, found in measured.items()}
    whole = _Table.total(list(tables.values()), count)
    above = torch.triu(torch.ones(count, count, dtype=torch.bool), 1)
    by_tensor = [TensorConflict(tensors[number].name, table.agreement(above)) for number, table in tables.items()]
    by_pair = [
        PairConflict(updates[i], updates[j], whole.agreement(_only(above, i, j)))
        for i in range(count)
        for j in range(i + 1, count)
    ]
    return Conflicts(
        pairs=len(by_pair),
        tensors=len(by_tensor),
        overall=whole.agreement(above),
        updates=tuple(
            UpdateConflict(name, int(whole.both_KK[k, k]), whole.agreement(_with(count, k)))
            for k, name in enumerate(updates)
        ),
        worst_tensors=tuple(sorted(by_tensor, key=_badness)[:WORST]),
        worst_pairs=tuple(sorted(by_pair, key=_badness)[:WORST]),
    )


@dataclass(frozen=True)
class _Table:
    """Counts of all pairs, float64 [K, K] but for ``gram_KK``: of both, of those opposed, and by chance."""

    gram_KK: Tensor
    both_KK: Tensor
    opposed_KK: Tensor
    smaller_KK: Tensor
    chance_KK: Tensor

    @classmethod
    def of(cls, found: TensorMeasure, size: int) -> _Table:
        both_KK = found.both_KK.to(torch.float64)
        changed_K = both_KK.diagonal()
        return cls(
            found.gram_KK.to(torch.float64),
            both_KK,
            found.opposed_KK.to(torch.float64),
            torch.minimum(changed_K[:, None], changed_K[None, :]),
            changed_K[:, None] * changed_K[None, :] / max(size, 1),
        )

    @classmethod
    def total(cls, tables: Sequence[_Table], count: int) -> _Table:
        sums = [torch.zeros(count, count, dtype=torch.float64) for _ in range(5)]
        for table in tables:  # in the order of the tensors, so that everybody finds the same numbers
            parts = (table.gram_KK, table.both_KK, table.opposed_KK, table.smaller_KK, table.chance_KK)
            sums = [torch.add(so_far, part) for so_far, part in zip(sums, parts, strict=True)]
        return cls(*sums)

    def agreement(self, pairs_KK: Tensor) -> Agreement:
        """Over the pairs that are True in ``pairs_KK``, bool [K, K]."""
        both, opposed, smaller, chance = (
            float(tree_sum(part[pairs_KK])) for part in (self.both_KK, self.opposed_KK, self.smaller_KK, self.chance_KK)
        )
        lengths_K = self.gram_KK.diagonal().sqrt()
        lengths_KK = lengths_K[:, None] * lengths_K[None, :]
        comparable_KK = pairs_KK & (lengths_KK > 0)
        cosines = torch.div(self.gram_KK, lengths_KK)[comparable_KK]
        return Agreement(
            _share(both, smaller),
            _share(chance, smaller),
            _share(opposed, both),
            _share(float(tree_sum(cosines)), len(cosines)),
        )


def _share(part: float, whole: float) -> float | None:
    """To six digits after the point: what is shown needs fewer, and what is kept stays small."""
    return round(part / whole, 6) if whole > 0 else None


def _badness(conflict: TensorConflict | PairConflict) -> float:
    cosine = conflict.agreement.cosine
    return 2.0 if cosine is None else cosine


def _only(like_KK: Tensor, i: int, j: int) -> Tensor:
    pairs_KK = torch.zeros_like(like_KK)
    pairs_KK[i, j] = True
    return pairs_KK


def _with(count: int, k: int) -> Tensor:
    """The pairs of update ``k`` with every other."""
    pairs_KK = torch.zeros(count, count, dtype=torch.bool)
    pairs_KK[k] = True
    pairs_KK[k, k] = False
    return pairs_KK
