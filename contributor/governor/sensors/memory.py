"""How much of the machine's memory is free."""

from __future__ import annotations

from typing import ClassVar

import psutil

from contributor.governor.sensors.sensor import Reading

__all__ = ["MemorySensor"]


class MemorySensor:
    """Memory that programs could have without swapping."""

    name: ClassVar[str] = "memory"
    fields: ClassVar[tuple[str, ...]] = ("ram_free_bytes", "ram_total_bytes")
    every_s: ClassVar[float] = 1.0

    def read(self) -> Reading:
        memory = psutil.virtual_memory()
        return Reading({"ram_free_bytes": memory.available, "ram_total_bytes": memory.total})
