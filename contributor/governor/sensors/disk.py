"""How much of the disk is free that holds the node's folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from contributor.governor.sensors.sensor import Reading, nothing

__all__ = ["DiskSensor"]


class DiskSensor:
    """Space for this user's files."""

    name: ClassVar[str] = "disk"
    fields: ClassVar[tuple[str, ...]] = ("disk_free_bytes",)
    every_s: ClassVar[float] = 10.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> Reading:
        try:
            return Reading({"disk_free_bytes": shutil.disk_usage(self._folder).free})
        except OSError as error:
            return nothing(self.fields, f"{self._folder} cannot be looked at: {error.strerror}")
