"""Idle: work once nobody has touched keyboard or mouse for a while. Input counts, not the processor's load."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from barnraise.sections import Section
from contributor.governor.observation import Observation
from contributor.governor.wish import Wish

__all__ = ["Idle"]


class Idle(Section):
    """Work while the machine is left alone.

    Attributes:
        after_s: of no input until work begins.
        when_unknown: what to do where no sensor tells when the last input was.
    """

    name: ClassVar[str] = "idle"
    sensors: ClassVar[tuple[str, ...]] = ("input",)
    memory: ClassVar[type[Any] | None] = None
    after_s: Annotated[float, Field(gt=0)] = 300.0
    when_unknown: Literal["wait", "work"] = "wait"

    def judge(self, seen: Observation, state: None) -> tuple[Wish, None]:
        """Wait until the last input is ``after_s`` seconds back."""
        if seen.input_idle_s is None:
            why = seen.why_not("input_idle_s")
            return Wish(self.when_unknown == "work", f"nobody can tell when the last input was: {why}"), state
        left_s = self.after_s - seen.input_idle_s
        if left_s <= 0:
            return Wish(True, f"no input for {seen.input_idle_s:.0f} s", look_again_s=2.0), state
        reason = f"the last input was {seen.input_idle_s:.0f} s ago, work begins after {self.after_s:.0f} s"
        return Wish(False, reason, look_again_s=min(max(left_s, 0.5), 5.0)), state
