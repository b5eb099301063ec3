"""Battery: no work on battery, or only while there is enough charge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from barnraise.sections import Section
from contributor.governor.observation import Observation
from contributor.governor.wish import Wish

__all__ = ["Battery", "Low"]


@dataclass(frozen=True, slots=True)
class Low:
    """Whether work stopped for lack of charge, and has not begun again."""

    low: bool = False


class Battery(Section):
    """Spare the battery.

    Attributes:
        on_battery: "wait" for mains, or "work" down to ``share_min``.
        share_min: charge below which there is no work, on battery or on mains.
        resume_above: charge by which ``share_min`` must be exceeded before work begins again.
    """

    name: ClassVar[str] = "battery"
    sensors: ClassVar[tuple[str, ...]] = ("battery",)
    memory: ClassVar[type[Any] | None] = None
    on_battery: Literal["wait", "work"] = "wait"
    share_min: Annotated[float, Field(ge=0, le=1)] = 0.3
    resume_above: Annotated[float, Field(ge=0, le=1)] = 0.05

    def judge(self, seen: Observation, state: Low | None) -> tuple[Wish, Low]:
        """Wait for mains, and for a charge that is enough."""
        before = state or Low()
        if seen.on_battery is None:
            why = seen.why_not("on_battery")
            return Wish(False, f"nobody can tell whether this machine is on mains: {why}"), before
        share = 1.0 if seen.battery_share is None else seen.battery_share
        needed = min(self.share_min + (self.resume_above if before.low else 0.0), 1.0)
        after = Low(share < needed)
        told = "no battery" if seen.battery_share is None else f"{share:.0%} charge"
        if after.low:
            return Wish(False, f"{told}, work needs {needed:.0%}", look_again_s=30.0), after
        if seen.on_battery and self.on_battery == "wait":
            return Wish(False, f"on battery with {told}, work waits for mains"), after
        return Wish(True, f"{'on battery' if seen.on_battery else 'on mains'}, {told}"), after
