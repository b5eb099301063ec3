"""What models were measured to be, kept in files that are named by all that it depends on."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from barnraise.releases.durable import make_folder, replace_file
from coordinator.acceptance.kinds import Measured

__all__ = ["KeptValues"]

NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class KeptValues:
    """One file a measurement, in ``folder``. All of it can be measured again; whoever needs room deletes it."""

    folder: Path

    def get(self, measurement: str) -> Measured | None:
        """What was kept under a name, as :func:`~coordinator.acceptance.measuring.measurement` gives it.

        A damaged file is none.
        """
        try:
            value = json.loads(self._path(measurement).read_text())
            values_N = np.array(value["values"], dtype=np.float64)
            notes = dict(value["notes"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return Measured(values_N, notes) if values_N.ndim == 1 and np.isfinite(values_N).all() else None

    def put(self, measurement: str, found: Measured) -> None:
        """Keep what was found; a reader meets the whole file or none.

        Raises:
            StorageError: nothing can be written there.
        """
        make_folder(self.folder)
        value = {"values": found.values_N.tolist(), "notes": dict(found.notes)}
        replace_file(self._path(measurement), json.dumps(value).encode())

    def names(self) -> list[str]:
        """Everything that is kept, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def _path(self, measurement: str) -> Path:
        assert NAME.fullmatch(measurement), measurement
        return self.folder / f"{measurement}.json"
