"""How a merge is to be done, as values: the strategy, and what comes before it."""

from __future__ import annotations

from dataclasses import dataclass

from merge.strategies.rule import PreAggregation, Strategy

__all__ = ["MergeRules"]


@dataclass(frozen=True, slots=True)
class MergeRules:
    """How a round merges.

    Attributes:
        clip_norm_at: multiple of the median norm at which updates are clipped; None for never.
        before: pre-aggregations, in their order.
        seed: of whatever is drawn by lot.
    """

    strategy: Strategy
    clip_norm_at: float | None = None
    before: tuple[PreAggregation, ...] = ()
    seed: int = 0

    @property
    def min_updates(self) -> int:
        """Fewest updates with which strategy and pre-aggregations keep their promises."""
        needed = self.strategy.min_updates
        for rule in reversed(self.before):
            needed = rule.needed(needed)
        return needed
