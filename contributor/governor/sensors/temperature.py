"""How hot the processor is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import psutil

from contributor.governor.sensors.sensor import Reading, nothing

__all__ = ["TemperatureSensor", "processor_celsius"]

CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "acpitz")


class TemperatureSensor:
    """The hottest spot of the processor."""

    name: ClassVar[str] = "temperature"
    fields: ClassVar[tuple[str, ...]] = ("cpu_celsius",)
    every_s: ClassVar[float] = 2.0

    def read(self) -> Reading:
        if not hasattr(psutil, "sensors_temperatures"):
            return nothing(self.fields, "psutil cannot read temperatures on this system")
        celsius = processor_celsius(psutil.sensors_temperatures())
        if celsius is None:
            return nothing(self.fields, "the system shows no thermometer of the processor")
        return Reading({"cpu_celsius": celsius})


def processor_celsius(chips: Mapping[str, Iterable[Any]]) -> float | None:
    """The highest temperature of the first chip that is known to be a processor's."""
    for chip in CHIPS:
        spots = [float(spot.current) for spot in chips.get(chip, ()) if spot.current]
        if spots:
            return max(spots)
    return None
