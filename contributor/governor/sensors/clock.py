"""How far the wall clock is from UTC now. The governor itself reads the clocks."""

from __future__ import annotations

import time
from typing import ClassVar

from contributor.governor.sensors.sensor import Reading

__all__ = ["ClockSensor"]


class ClockSensor:
    """The machine's time zone, daylight saving included."""

    name: ClassVar[str] = "clock"
    fields: ClassVar[tuple[str, ...]] = ("utc_offset_s",)
    every_s: ClassVar[float] = 30.0

    def read(self) -> Reading:
        return Reading({"utc_offset_s": float(time.localtime().tm_gmtoff)})
