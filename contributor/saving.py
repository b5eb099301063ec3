"""When a unit in training is saved: so often that a kill loses little, so seldom that saving costs little.

Pure: two measured durations and the time since the last checkpoint decide.
"""

from __future__ import annotations

__all__ = ["COST_SHARE", "LOST_MAX_S", "is_due"]

LOST_MAX_S = 60.0
"""The most that a kill may lose, save for a single step that takes longer than this."""
COST_SHARE = 0.01
"""Of the time between two checkpoints, where the limit above allows it."""


def is_due(since_saved_s: float, step_s: float, cost_s: float) -> bool:
    """Whether to save now, at the end of a step.

    Args:
        since_saved_s: training time that a kill would lose now.
        step_s: what the step took; the next one will take about as long, and a kill at its end would lose it too.
        cost_s: what the last checkpoint took, 0 before the first one.
    """
    return since_saved_s + step_s > min(LOST_MAX_S, cost_s / COST_SHARE)
