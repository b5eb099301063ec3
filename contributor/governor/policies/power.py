"""Power: keep what the graphics cards draw below so many watts, on average, by resting in between.

What the cards draw at full work is the most that was seen of late; the share of time that may be spent training is
the limit over that. A rest therefore never raises the duty by its own coolness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from barnraise.sections import Section
from contributor.governor.observation import Observation
from contributor.governor.wish import Wish

__all__ = ["Peak", "Power"]

HALF_LIFE_S = 300.0
DUTY_LEAST = 0.01


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that was drawn of late, and when it was noted (monotonic)."""

    watts: float = 0.0
    at_s: float = 0.0


class Power(Section):
    """Limit the average draw of the graphics cards together.

    Attributes:
        watts_max: on average.
    """

    name: ClassVar[str] = "power"
    sensors: ClassVar[tuple[str, ...]] = ("gpu",)
    memory: ClassVar[type[Any] | None] = None
    watts_max: Annotated[float, Field(gt=0)] = 200.0

    def judge(self, seen: Observation, state: Peak | None) -> tuple[Wish, Peak]:
        """Train for the share of time that keeps the average below the limit."""
        before = state or Peak(0.0, seen.clock_s)
        drawn = [gpu.watts for gpu in seen.gpus or () if gpu.watts is not None]
        if not drawn:
            return Wish(True, f"what the graphics cards draw is not known: {seen.why_not('gpus')}"), before
        faded = before.watts * 0.5 ** (max(0.0, seen.clock_s - before.at_s) / HALF_LIFE_S)
        after = Peak(max(sum(drawn), faded), seen.clock_s)
        if after.watts <= self.watts_max:
            return Wish(True, f"at most {after.watts:.0f} W of late, the limit is {self.watts_max:.0f} W"), after
        duty = max(DUTY_LEAST, self.watts_max / after.watts)
        reason = f"{after.watts:.0f} W at full work, the limit is {self.watts_max:.0f} W: training {duty:.0%} of time"
        return Wish(True, reason, duty=duty), after
