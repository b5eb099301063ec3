"""What a run's folder and its file system say: sizes, expiries, the last backup, the conductor's vitals.

Walking a store takes a while when there are many blobs, so sizes are looked at again only after a
hundred times as long as that took, and after a minute at the earliest. All else is a few small files.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from barnraise.metric import Readings
from barnraise.run_folder import RunFolder
from coordinator.vitals import read_status, read_vitals

__all__ = ["FolderGauges", "expiry_s", "full_in_s"]

AGAIN_AFTER_S = 60.0
REST_SHARE = 100.0
METADATA_BYTES_MAX = 1 << 22
ROLES = ("root", "targets", "nightly", "stable", "snapshot", "timestamp")


class FolderGauges:
    """The numbers of one run folder.

    Args:
        tick_s: a clock that only goes forward, for how old the sizes are.
    """

    def __init__(self, folder: RunFolder, tick_s: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._tick_s = tick_s
        self._sizes: dict[str, tuple[int, int]] = {}
        self._look_again_s = -math.inf

    def readings(self, growth_bytes_per_s: float) -> Readings:
        """All metrics that come from the folder and from the conductor's file; of a disk that is away, none."""
        found = Readings()
        try:
            disk = shutil.disk_usage(self._folder.root)
        except OSError:
            return found
        found.put("barnraise_disk_free_bytes", disk.free)
        found.put("barnraise_disk_size_bytes", disk.total)
        found.put("barnraise_disk_full_forecast_seconds", full_in_s(disk.free, growth_bytes_per_s))
        for part, (size_bytes, files) in self._measured().items():
            found.put("barnraise_store_size_bytes", size_bytes, part)
            found.put("barnraise_store_files", files, part)
        found.put("barnraise_uploads_staged", len(list(self._folder.staging.glob("*.json"))))
        ledger = self._folder.ledger
        parts = (ledger, *(ledger.with_name(f"{ledger.name}{end}") for end in ("-wal", "-shm")))
        found.put("barnraise_ledger_size_bytes", sum(_size(path) for path in parts))
        for role in ROLES:
            ends_s = expiry_s(self._metadata(role))
            if ends_s is not None:
                found.put("barnraise_metadata_expiry_timestamp_seconds", ends_s, role)
        backup_ms = read_status(self._folder.status / "backup.json").get("at_ms")
        if isinstance(backup_ms, int):
            found.put("barnraise_backup_timestamp_seconds", backup_ms / 1000)
        self._tell_conductor(found)
        return found

    def _tell_conductor(self, found: Readings) -> None:
        vitals = read_vitals(self._folder)
        if vitals is None:
            return
        found.put("barnraise_conductor_beat_timestamp_seconds", vitals.at_ms / 1000)
        found.put("barnraise_conductor_start_timestamp_seconds", vitals.started_at_ms / 1000)
        for word, alive in (("yes", True), ("no", False)):
            found.put("barnraise_ray_nodes", sum(node.alive is alive for node in vitals.nodes), word)
        for one in vitals.resources:
            found.put("barnraise_ray_resources", one.total, one.name.lower(), "total")
            found.put("barnraise_ray_resources", one.free, one.name.lower(), "free")
        found.put("barnraise_ray_tasks", vitals.tasks_running, "running")
        found.put("barnraise_ray_tasks", vitals.tasks_held, "held")

    def _measured(self) -> dict[str, tuple[int, int]]:
        """Part of the folder -> its bytes and files, not older than said at the top."""
        now_s = self._tick_s()
        if now_s >= self._look_again_s:
            folder = self._folder
            parts = {
                "public": folder.public,
                "private": folder.private / "blobs",
                "models": folder.private / "models",
                "scores": folder.private / "scores",
                "staging": folder.staging,
                "logs": folder.logs,
            }
            self._sizes = {name: _under(path) for name, path in parts.items()}
            took_s = self._tick_s() - now_s
            self._look_again_s = now_s + max(AGAIN_AFTER_S, REST_SHARE * took_s)
        return self._sizes

    def _metadata(self, role: str) -> Path:
        """The role's newest metadata: ``timestamp.json`` has no number, of the others the highest counts."""
        folder = self._folder.public / "metadata"
        begins = (one.name.split(".")[0] for one in folder.glob(f"[0-9]*.{role}.json"))
        newest = max((int(number) for number in begins if number.isdecimal()), default=None)
        return folder / (f"{role}.json" if newest is None else f"{newest}.{role}.json")


def full_in_s(free_bytes: int, growth_bytes_per_s: float) -> float:
    """Seconds until the disk is full; infinity when nothing grows."""
    return free_bytes / growth_bytes_per_s if growth_bytes_per_s > 0 else math.inf


def expiry_s(path: Path) -> float | None:
    """When signed metadata expires, in seconds since the epoch; None when it is missing or being written."""
    try:
        with path.open("rb") as file:
            signed = json.loads(file.read(METADATA_BYTES_MAX))["signed"]
        return datetime.fromisoformat(signed["expires"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _under(path: Path) -> tuple[int, int]:
    """Bytes and files below a folder; what goes away meanwhile does not count."""
    size_bytes = files = 0
    for folder, _, names in os.walk(path):
        for name in names:
            size_bytes += _size(Path(folder) / name)
            files += 1
    return size_bytes, files


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
