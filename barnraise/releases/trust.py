"""Whose releases these are: the coordinator's key, pinned when a run is first seen.

``known-runs.json`` in the user's configuration holds, for each run, the key that signed its
first index and the highest serial seen since. Another key under a known name is refused; an
older list than one that was seen before is used with a warning, for a mirror may lag.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barnraise.errors import ConfigValueError, VerificationError
from barnraise.identity import config_home
from barnraise.releases.durable import make_folder, replace_file
from barnraise.releases.index import ReleaseIndex

__all__ = ["KnownRun", "KnownRuns"]


@dataclass(frozen=True, slots=True)
class KnownRun:
    """What was seen of a run before. ``serial`` is the highest."""

    key: str
    serial: int


@dataclass(frozen=True, slots=True)
class KnownRuns:
    """The file of pinned keys; ``path`` need not exist yet."""

    path: Path

    @classmethod
    def of_user(cls) -> KnownRuns:
        return cls(config_home() / "known-runs.json")

    def get(self, name: str) -> KnownRun | None:
        """What is known of a run.

        Raises:
            ConfigValueError: the file is damaged.
        """
        found = self._read().get(name)
        return None if found is None else KnownRun(str(found["key"]), int(found["serial"]))

    def check(self, name: str, key: str, serial: int) -> list[str]:
        """Compare a run's key and serial with what was seen before; nothing is written.

        Returns:
            Warnings.

        Raises:
            VerificationError: the run is known under another key.
        """
        known = self.get(name)
        if known is None:
            return []
        if known.key != key:
            raise VerificationError(
                f"{name} is signed by key {key[:16]}.., but {known.key[:16]}.. was pinned when it was first seen. "
                f"If its operator says that the key changed, remove {name} from {self.path} and pull again"
            )
        if serial < known.serial:
            return [f"this mirror is behind: its list has serial {serial}, {known.serial} was seen before"]
        return []

    def pin(self, index: ReleaseIndex) -> None:
        """Remember a run's key and serial, after :meth:`check` and after the signature was checked."""
        known = self.get(index.name)
        serial = max(index.serial, known.serial if known else 0)
        if known == KnownRun(index.coordinator_key, serial):
            return
        runs = {**self._read(), index.name: {"key": index.coordinator_key, "serial": serial}}
        make_folder(self.path.parent)
        replace_file(self.path, json.dumps({"runs": runs}, indent=1, sort_keys=True).encode("ascii"))

    def _read(self) -> dict[str, Any]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        try:
            runs = json.loads(text)["runs"]
            for run in runs.values():
                str(run["key"]), int(run["serial"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigValueError(
                f"{self.path} is damaged; repair it, or move it away to pin all keys anew"
            ) from error
        assert isinstance(runs, dict)
        return runs
