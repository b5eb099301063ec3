"""Nice: let everybody else go first, at the processor and at the disk.

This policy never limits when or how hard the node works. It says how the system's scheduler should rank it, and
contributor.governor.priority does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from barnraise.sections import Section
from contributor.governor.observation import Observation
from contributor.governor.wish import Wish

__all__ = ["Nice", "Priority"]


@dataclass(frozen=True, slots=True)
class Priority:
    """How the scheduler should rank the node.

    Attributes:
        nice: 0 to 19. idle_class: run only on processors that nobody else wants, where there is such a class.
        idle_io: use the disk only when nobody else does.
        cgroup_weight: cpu.weight and io.weight of a cgroup v2 that holds the node alone; None leaves them.
    """

    nice: int = 0
    idle_class: bool = False
    idle_io: bool = False
    cgroup_weight: int | None = None


class Nice(Section):
    """Rank behind everybody else.

    Attributes:
        nice: 0 (as everybody) to 19 (last). cpu: "normal", or "idle" for processors that nobody else wants.
        io: likewise for the disk.
        cgroup_weight: 1 to 10,000, where 100 is as everybody; applied only to a cgroup that the node has to itself.
    """

    name: ClassVar[str] = "nice"
    sensors: ClassVar[tuple[str, ...]] = ()
    memory: ClassVar[type[Any] | None] = None
    nice: Annotated[int, Field(ge=0, le=19)] = 19
    cpu: Literal["normal", "idle"] = "normal"
    io: Literal["normal", "idle"] = "idle"
    cgroup_weight: Annotated[int, Field(ge=1, le=10_000)] | None = 1

    def judge(self, seen: Observation, state: None) -> tuple[Wish, None]:
        """Never in the way of work."""
        rank = f"nice {self.nice}, {self.cpu} processor class, {self.io} disk class"
        return Wish(True, f"ranks behind others: {rank}"), state

    def priority(self) -> Priority:
        """What is to be set while this policy is loaded."""
        return Priority(self.nice, self.cpu == "idle", self.io == "idle", self.cgroup_weight)
