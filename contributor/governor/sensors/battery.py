"""Whether the machine is on mains, and how much charge its battery has."""

from __future__ import annotations

from typing import Any, ClassVar

import psutil

from contributor.governor.sensors.sensor import Reading, nothing

__all__ = ["BatterySensor", "of_battery"]


class BatterySensor:
    """Mains and charge."""

    name: ClassVar[str] = "battery"
    fields: ClassVar[tuple[str, ...]] = ("on_battery", "battery_share")
    every_s: ClassVar[float] = 5.0

    def read(self) -> Reading:
        if not hasattr(psutil, "sensors_battery"):
            return nothing(self.fields, "psutil cannot read batteries on this system")
        return of_battery(psutil.sensors_battery())


def of_battery(battery: Any) -> Reading:
    """What psutil's answer means. A machine without a battery is on mains."""
    if battery is None:
        return Reading({"on_battery": False}, {"battery_share": "this machine has no battery"})
    share = max(0.0, min(1.0, battery.percent / 100))
    if battery.power_plugged is None:
        return Reading({"battery_share": share}, {"on_battery": "the battery does not say whether it is on mains"})
    return Reading({"on_battery": not battery.power_plugged, "battery_share": share})
