"""Pressure stall information: how much of the last ten seconds some process stood waiting for something.

Source: Linux, Documentation/accounting/psi.rst
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from contributor.governor.sensors.sensor import Reading

__all__ = ["PressureSensor", "some_share"]

FOLDER = Path("/proc/pressure")


class PressureSensor:
    """Waiting for processor, memory and disk, by everybody, this node included."""

    name: ClassVar[str] = "pressure"
    fields: ClassVar[tuple[str, ...]] = ("cpu_pressure", "memory_pressure", "io_pressure")
    every_s: ClassVar[float] = 2.0

    def read(self) -> Reading:
        values, unknown = {}, {}
        for field in self.fields:
            path = FOLDER / field.partition("_")[0]
            try:
                values[field] = some_share(path.read_text())
            except OSError as error:
                unknown[field] = f"{path}: {error.strerror}"
        return Reading(values, unknown)


def some_share(text: str) -> float:
    """The share that "some avg10=" tells in percent."""
    return float(text.split("some avg10=", 1)[1].split()[0]) / 100
