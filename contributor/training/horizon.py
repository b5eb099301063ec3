"""Where a unit ends: with all of its lease's steps, or earlier, so that its update is there before the lease ends.

After every step there is time for another one, or there is not:

    now .. next step .. compress, sign, send .. receipt     must end before the lease does

A slow machine so does fewer steps a unit and a fast one all of them, without anybody choosing a number. What is
measured is taken at its worst: a step counts as long as the slowest of the last ones, and the rest of the unit as long
as the slowest of the last ones there. A unit that has less than a tenth of its steps goes on all the same: it is too
little to send, and the coordinator may still wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Horizon", "Tempo", "ends_here"]

SHARE_MIN = 0.1
RECENT_STEPS, RECENT_UNITS = 8, 4
FIRST_GUESS_SHARE, FIRST_GUESS_MIN_S = 0.05, 5.0


@dataclass(frozen=True, slots=True)
class Horizon:
    """What is known at the end of a step.

    Attributes:
        done, steps: of the unit, and of its lease. left_s: until the lease ends.
        lease_s: how long it is in all. step_s: of a step. after_s: from the last step to the receipt; None if not
            known yet.
    """

    done: int
    steps: int
    left_s: float
    lease_s: float
    step_s: float
    after_s: float | None = None

    @property
    def reserved_s(self) -> float:
        """What must be left for compressing and sending."""
        if self.after_s is not None:
            return self.after_s
        return min(max(FIRST_GUESS_MIN_S, FIRST_GUESS_SHARE * self.lease_s), self.lease_s / 4)

    @property
    def possible(self) -> int:
        """Steps that the unit will have at this pace, all of the lease's at most."""
        if self.step_s <= 0:
            return self.steps
        more = int(max(0.0, self.left_s - self.reserved_s) / self.step_s)
        return min(self.steps, self.done + more)


def ends_here(now: Horizon) -> str | None:
    """Why the unit should end now; None when it should go on, or has all of its steps."""
    least = max(1, round(SHARE_MIN * now.steps))
    if now.done >= now.steps or now.done < least or now.left_s < 0 or now.possible > now.done:
        return None
    return (
        f"this unit ends after {now.done} of {now.steps} steps: {now.left_s:,.0f} s of the lease are left, a step "
        f"takes {now.step_s:,.1f} s, and {now.reserved_s:,.0f} s are kept for sending"
    )


@dataclass
class Tempo:
    """What this machine was measured to take; told by the node.

    Attributes:
        clock_s: monotonic seconds.
    """

    clock_s: Callable[[], float]
    _steps_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_STEPS))
    _afters_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_UNITS))
    _trained_at_s: float | None = None

    def stepped(self, took_s: float) -> None:
        """A step is done, with the pause that belongs to it."""
        self._steps_s.append(took_s)

    def trained(self) -> None:
        """The last step of a unit is done."""
        self._trained_at_s = self.clock_s()

    def received(self) -> None:
        """The oldest unit in the outbox has its receipt; the time counts if it is the one that was trained last."""
        if self._trained_at_s is not None:
            self._afters_s.append(self.clock_s() - self._trained_at_s)
            self._trained_at_s = None

    def horizon(self, done: int, steps: int, left_s: float, lease_s: float) -> Horizon:
        """At the end of a step."""
        step_s = max(self._steps_s, default=0.0)
        return Horizon(done, steps, left_s, lease_s, step_s, max(self._afters_s, default=None))
