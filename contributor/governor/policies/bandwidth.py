"""Bandwidth: rates up and down, a daily quota that survives restarts, and networks that cost by the byte.

Only sending and fetching are held back; training goes on with what is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from barnraise.sections import Section
from contributor.governor.observation import Observation
from contributor.governor.policies.local_time import check_zone, local_time
from contributor.governor.wish import Wish

__all__ = ["Bandwidth", "Spent"]

MB = 1e6
Rate = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, slots=True)
class Spent:
    """What today's transfers come to.

    Attributes:
        day: of the wall clock, "2026-11-21".
        spent_bytes: sent and received on that day.
        counted_bytes: the node's counters at the last look; they begin at zero when it starts.
    """

    day: str
    spent_bytes: int = 0
    counted_bytes: int = 0


class Bandwidth(Section):
    """Limit what the node sends and fetches.

    Attributes:
        up_mb_per_s, down_mb_per_s: megabytes a second; None is no limit.
        quota_mb_per_day: both ways together, from midnight to midnight; None is no limit.
        metered: what to do on a network that costs by the byte.
        zone: of the clock whose midnight counts; the machine's own when None.
    """

    name: ClassVar[str] = "bandwidth"
    sensors: ClassVar[tuple[str, ...]] = ("clock", "metered")
    memory: ClassVar[type[Any] | None] = Spent
    up_mb_per_s: Rate | None = None
    down_mb_per_s: Rate | None = None
    quota_mb_per_day: Rate | None = None
    metered: Literal["wait", "transfer"] = "wait"
    zone: str | None = None

    _zone_is_known = field_validator("zone")(check_zone)

    def judge(self, seen: Observation, state: Spent | None) -> tuple[Wish, Spent]:
        """Add up what was moved since the last look, and wish accordingly."""
        after = self._spent(seen, state)
        quota = None if self.quota_mb_per_day is None else self.quota_mb_per_day * MB
        told = f"{after.spent_bytes / MB:.1f} MB moved on {after.day}"
        if quota is not None:
            told += f", the quota is {quota / MB:.1f} MB"
        used_up = quota is not None and after.spent_bytes >= quota
        costs = seen.metered is True and self.metered == "wait"
        if costs:
            told = f"the network costs by the byte; {told}"
        wish = Wish(
            True,
            told,
            up_bytes_per_s=None if self.up_mb_per_s is None else self.up_mb_per_s * MB,
            down_bytes_per_s=None if self.down_mb_per_s is None else self.down_mb_per_s * MB,
            transfer=not (used_up or costs),
        )
        return wish, after

    def _spent(self, seen: Observation, before: Spent | None) -> Spent:
        now = local_time(seen.at_ms, seen.utc_offset_s or 0.0, self.zone)
        assert now is not None
        day = now.date().isoformat()
        counted = seen.node.sent_bytes + seen.node.received_bytes
        if before is None:
            return Spent(day, counted, counted)
        begun_anew = counted < before.counted_bytes
        moved = counted if begun_anew else counted - before.counted_bytes
        return Spent(day, moved + (before.spent_bytes if before.day == day else 0), counted)
