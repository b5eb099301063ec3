"""Exclusive app: no work while a program runs that its owner wants the machine for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from barnraise.sections import Section
from contributor.governor.observation import Observation
from contributor.governor.wish import Wish

__all__ = ["ExclusiveApp", "LastSeen"]


@dataclass(frozen=True, slots=True)
class LastSeen:
    """Monotonic time at which one of the programs was seen last; None for never."""

    at_s: float | None = None


class ExclusiveApp(Section):
    """Wait while one of these programs runs.

    Attributes:
        programs: their names as the system lists them; case and a final .exe do not count.
        linger_s: to wait after the last of them has gone, for a level that is only being loaded.
    """

    name: ClassVar[str] = "exclusive-app"
    sensors: ClassVar[tuple[str, ...]] = ("programs",)
    memory: ClassVar[type[Any] | None] = None
    programs: tuple[str, ...] = ()
    linger_s: Annotated[float, Field(ge=0)] = 30.0

    def judge(self, seen: Observation, state: LastSeen | None) -> tuple[Wish, LastSeen]:
        """Wait while one of the programs runs, and a while longer."""
        before = state or LastSeen()
        if seen.programs is None:
            return Wish(False, f"the running programs are not known: {seen.why_not('programs')}"), before
        running = sorted(seen.programs & {_plain(name) for name in self.programs})
        if running:
            return Wish(False, f"{', '.join(running)} is running", look_again_s=2.0), LastSeen(seen.clock_s)
        gone_s = None if before.at_s is None else seen.clock_s - before.at_s
        if gone_s is not None and gone_s < self.linger_s:
            left_s = self.linger_s - gone_s
            reason = f"the program that this waits for ended {gone_s:.0f} s ago; going on in {left_s:.0f} s"
            return Wish(False, reason, look_again_s=min(max(left_s, 0.1), 5.0)), before
        named = len(self.programs)
        return Wish(True, f"none of {named} named program{'' if named == 1 else 's'} is running"), before


def _plain(name: str) -> str:
    return name.lower().removesuffix(".exe")
