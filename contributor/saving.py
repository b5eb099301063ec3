"""A unit in training on the disk: so often that a kill loses little, so seldom that saving costs little.

When to save is decided from two measured durations and the time since the last checkpoint. What
cannot be saved or continued is no error: training goes on, or begins anew, and that is said.
"""

from __future__ import annotations

from barnraise.errors import DiskFullError
from barnraise.protocol import Lease
from barnraise.updates.space import ParameterSpace
from contributor.events import Notice
from contributor.parts import Parts
from contributor.training.checkpoint import lease_of, load_checkpoint, save_checkpoint
from contributor.training.trainer import Progress, Trainer

__all__ = ["COST_SHARE", "LOST_MAX_S", "Saving", "assumed_cost_s", "is_due"]

LOST_MAX_S = 60.0
"""The most that a kill may lose, save for a single step that takes longer than this."""
COST_SHARE = 0.0025
"""Of the time between two checkpoints, where the limit above allows it.

For a checkpoint of ``C`` seconds and a kill once in ``M`` seconds ``sqrt(C / 2 M)`` pays: 0.2% for 0.2 s and six hours.
Source: Young 1974, "A first order approximation to the optimum checkpoint interval".
"""
ASSUMED_BYTES_PER_S = 200e6
"""Of writing a checkpoint, until one was written: a plain disk. A unit that is shorter than it is worth writes none."""
BYTES_PER_ELEMENT = 12
"""Model and two moments, float32 each."""


def assumed_cost_s(size: int) -> float:
    """What the first checkpoint of ``size`` elements will take, as long as nothing is known of this machine."""
    return BYTES_PER_ELEMENT * size / ASSUMED_BYTES_PER_S


def is_due(since_saved_s: float, step_s: float, cost_s: float) -> bool:
    """Whether to save now, at the end of a step.

    Args:
        since_saved_s: training time that a kill would lose now.
        step_s: what the step took; the next one will take about as long, and a kill at its end would lose it too.
        cost_s: what the last checkpoint took, or what is assumed of the first one.
    """
    return since_saved_s + step_s > min(LOST_MAX_S, cost_s / COST_SHARE)


class Saving:
    """The checkpoint of one node."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._path = parts.folder.checkpoint
        self._cost_s = 0.0
        self._saved_at_s = 0.0

    def continued(self, lease: Lease, layout: ParameterSpace) -> Progress | None:
        """Where the unit of ``lease`` was stopped, if it was."""
        if not self._path.exists():
            return None
        progress = load_checkpoint(self._path, lease.lease_id, layout)
        if progress is None:
            self._parts.report(Notice(f"{self._why_not(lease)}; this unit begins anew"))
            self._path.unlink()
        else:
            done = len(progress.losses)
            self._parts.report(Notice(f"continuing a unit after step {done} of {lease.training.steps}"))
        return progress

    def _why_not(self, lease: Lease) -> str:
        """Why there is no going on from the checkpoint that is there."""
        if lease_of(self._path) in {None, lease.lease_id}:
            return "the checkpoint is damaged"
        return "the unit that was begun before belongs to a lease that is over"

    def begin(self, layout: ParameterSpace) -> None:
        """Steps begin on what has this layout: up to now a kill loses nothing."""
        self._saved_at_s = self._parts.clock_s()
        self._cost_s = self._cost_s or assumed_cost_s(layout.size)

    def is_due(self, step_s: float) -> bool:
        """Whether to save now, at the end of a step that took so long."""
        return is_due(self._parts.clock_s() - self._saved_at_s, step_s, self._cost_s)

    def save(self, lease: Lease, layout: ParameterSpace, trainer: Trainer) -> bool:
        """A checkpoint of the unit as it is; False when the disk has no room for it. Of nothing done, nothing."""
        if not trainer.losses:
            return True
        clock_s = self._parts.clock_s
        began_s = clock_s()
        try:
            save_checkpoint(self._path, lease.lease_id, layout, trainer.progress())
        except DiskFullError as error:
            self._parts.report(Notice(f"this unit could not be saved, a kill now would lose it: {error}"))
            return False
        finally:
            self._saved_at_s = clock_s()
            self._cost_s = self._saved_at_s - began_s
        return True

    def forget(self) -> None:
        """The unit is done."""
        self._path.unlink(missing_ok=True)
