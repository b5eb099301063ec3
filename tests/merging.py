"""Merge whole updates in tests as a round does: measure, plan, combine segment by segment."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from barnraise.updates import Piece
from merge.measure import Measured, measure_pieces, total
from merge.plan import MergePlan, MergeRules, plan_merge
from merge.segment import SegmentUpdates, combine_segment
from merge.strategies.rule import PreAggregation, PrunesUpdates, Strategy, UsesFisher


@dataclass(frozen=True)
class Layout:
    """Tensors of a model, and where it is cut into segments (flat places, ascending)."""

    tensors: tuple[int, ...]
    cuts: tuple[int, ...] = ()

    @property
    def segments(self) -> list[tuple[int, tuple[Piece, ...]]]:
        """Start of each segment and its pieces."""
        size = sum(self.tensors)
        edges = [0, *self.cuts, size]
        return [(first, self._pieces(first, last)) for first, last in itertools.pairwise(edges)]

    def _pieces(self, first: int, last: int) -> tuple[Piece, ...]:
        pieces, start = [], 0
        for number, width in enumerate(self.tensors):
            low, high = max(first, start), min(last, start + width)
            if low < high:
                pieces.append(Piece(number, low - first, high - first, low))
            start += width
        return tuple(pieces)


def updates(count: int, elements: int = 300, seed: int = 0, common: float = 0.0) -> list[Tensor]:
    """Normal updates around a common change, float32 [P] each."""
    draws = torch.Generator().manual_seed(seed)
    return list(torch.randn(count, elements, generator=draws) + common * torch.randn(elements, generator=draws))


def measured(rows: Sequence[Tensor], strategy: Strategy, layout: Layout) -> Measured:
    """What a round measures of the updates before it merges them by ``strategy``."""
    if not rows:
        return {}
    parts = []
    for start, pieces in layout.segments:
        cut = [row_P[start : start + pieces[-1].end] for row_P in rows]
        counted = isinstance(strategy, PrunesUpdates) and strategy.by_magnitude
        parts.append(measure_pieces(cut, pieces, magnitudes=counted))
    return total(parts)


def planned(rows: Sequence[Tensor], weights: Sequence[float], rules: MergeRules, layout: Layout) -> MergePlan:
    return plan_merge(measured(rows, rules.strategy, layout), weights, rules)


def combined(rows: Sequence[Tensor], plan: MergePlan, rules: MergeRules, layout: Layout) -> Tensor:
    """Carry a plan out, float32 [P]. Every diagonal Fisher is 1."""
    found = measured(rows, rules.strategy, layout)
    fishers = [torch.ones_like(row_P) for row_P in rows] if isinstance(rules.strategy, UsesFisher) else None
    parts = []
    for start, pieces in layout.segments:
        cut = slice(start, start + pieces[-1].end)
        segment = SegmentUpdates(
            [row_P[cut] for row_P in rows],
            pieces,
            {tensor: measure.magnitudes for tensor, measure in found.items()},
            None if fishers is None else [fisher_P[cut] for fisher_P in fishers],
        )
        parts.append(combine_segment(segment, plan, rules))
    return torch.cat(parts)


def merged(
    rows: Sequence[Tensor],
    strategy: Strategy,
    *,
    weights: Sequence[float] | None = None,
    before: tuple[PreAggregation, ...] = (),
    clip_norm_at: float | None = None,
    layout: Layout | None = None,
) -> Tensor:
    """The change that a round makes of updates, float32 [P]; one tensor in one segment unless said."""
    layout = layout or Layout((len(rows[0]) if rows else 1,))
    rules = MergeRules(strategy, clip_norm_at, before, seed=7)
    weights = weights or [1.0] * len(rows)
    return combined(rows, planned(rows, weights, rules, layout), rules, layout)
