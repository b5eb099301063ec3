"""Which programs run."""

from __future__ import annotations

from typing import ClassVar

import psutil

from contributor.governor.sensors.sensor import Reading

__all__ = ["ProgramsSensor"]


class ProgramsSensor:
    """Names of all running programs."""

    name: ClassVar[str] = "programs"
    fields: ClassVar[tuple[str, ...]] = ("programs",)
    every_s: ClassVar[float] = 2.0

    def read(self) -> Reading:
        names = (process.info["name"] or "" for process in psutil.process_iter(["name"]))
        return Reading({"programs": frozenset(name.lower().removesuffix(".exe") for name in names if name)})
