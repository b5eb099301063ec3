"""A share of time to train, turned into stretches of training and pauses that are worth measuring.

Pausing a little after every step would give the share as well, but a pause of some milliseconds says nothing about
what others do without us. So the pauses that are owed are saved up and taken at once, about every ``CYCLE_S``: each is
an experiment. The length of the cycle changes from one to the next, for a program that is busy in a rhythm of its own
must not stay in step with it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CYCLE_S", "DUTY_LEAST", "Rhythm"]

CYCLE_S = 4.0
PAUSE_MOST_S = 300.0
DUTY_LEAST = 0.02
GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Where the node is between two pauses.

    Attributes:
        trained_s: since the last pause. owed_s: of pausing. pauses: so far.
    """

    trained_s: float = 0.0
    owed_s: float = 0.0
    pauses: int = 0

    def after(self, step_s: float, duty: float) -> tuple[float, Rhythm]:
        """What to tell the node after a step: a duty of 1 to go on, or the one that makes it pause now.

        Args:
            step_s: of training since the last call. duty: the share to keep on average.
        """
        if step_s <= 0:
            return 1.0, self
        if duty >= 1:
            return 1.0, Rhythm(pauses=self.pauses)
        trained_s = self.trained_s + step_s
        owed_s = min(PAUSE_MOST_S, self.owed_s + step_s * (1 - duty) / duty)
        stretch = 0.5 + (self.pauses * GOLDEN) % 1.0
        if trained_s + owed_s < CYCLE_S * stretch:
            return 1.0, Rhythm(trained_s, owed_s, self.pauses)
        return step_s / (step_s + owed_s), Rhythm(pauses=self.pauses + 1)
