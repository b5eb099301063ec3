"""Disk: leave so much of the disk free, and stop before a full disk stops the owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from barnraise.sections import Section
from contributor.governor.observation import Observation
from contributor.governor.wish import Wish

__all__ = ["Disk", "Full"]

GB = 1e9


@dataclass(frozen=True, slots=True)
class Full:
    """Whether work stopped for lack of space, and has not begun again."""

    full: bool = False


class Disk(Section):
    """Leave space on the disk that holds the node's folder.

    Attributes:
        leave_gb: gigabytes that stay free. resume_above_gb: by which that must be exceeded before work begins again.
    """

    name: ClassVar[str] = "disk"
    sensors: ClassVar[tuple[str, ...]] = ("disk",)
    memory: ClassVar[type[Any] | None] = None
    leave_gb: Annotated[float, Field(ge=0)] = 5.0
    resume_above_gb: Annotated[float, Field(ge=0)] = 0.5

    def judge(self, seen: Observation, state: Full | None) -> tuple[Wish, Full]:
        """No work and no transfers on a disk that is nearly full."""
        before = state or Full()
        if seen.disk_free_bytes is None:
            return Wish(True, f"the free space is not known: {seen.why_not('disk_free_bytes')}"), before
        needed_gb = self.leave_gb + (self.resume_above_gb if before.full else 0.0)
        free_gb = seen.disk_free_bytes / GB
        after = Full(free_gb < needed_gb)
        reason = f"{free_gb:.1f} GB of disk are free, {needed_gb:.1f} GB are to be left"
        return Wish(not after.full, reason, transfer=not after.full, look_again_s=30.0 if after.full else 5.0), after
