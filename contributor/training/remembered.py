"""What was found out about a kind of unit on this machine, so that the next one need not find it out again.

One small file in the node's folder: by model, batch and device, how many examples fit at once, and whether compiling
pays. It is worth little: a file that is missing, damaged or of another version is one that says nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from barnraise.digest import canonical_json, digest_json
from barnraise.errors import DiskFullError
from barnraise.releases.durable import replace_file
from barnraise.updates.space import ParameterSpace

__all__ = ["Finding", "Remembered", "kind_of_unit"]

KINDS_MAX = 32


@dataclass(frozen=True, slots=True)
class Finding:
    """Of one kind of unit. ``micro_batch``: fits at once. ``compile``: whether it pays. None: not known."""

    micro_batch: int | None = None
    compile: bool | None = None


def kind_of_unit(space: ParameterSpace, batch: int, device: str) -> str:
    """A name for units that are alike in what they cost."""
    return digest_json({"space": space.digest, "batch": batch, "device": device})[3:19]


class Remembered:
    """The findings of one node's folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._findings = _read(path)

    def of(self, kind: str) -> Finding:
        return self._findings.get(kind, Finding())

    def note(self, kind: str, **found: Any) -> None:
        """Keep what was found; without room on the disk it is known until the process ends."""
        after = replace(self.of(kind), **found)
        if after == self._findings.get(kind):
            return
        kept = {name: finding for name, finding in self._findings.items() if name != kind}
        self._findings = dict([*kept.items(), (kind, after)][-KINDS_MAX:])
        value = {"version": 1, "kinds": {name: asdict(finding) for name, finding in self._findings.items()}}
        try:
            replace_file(self._path, canonical_json(value))
        except DiskFullError:
            return


def _read(path: Path) -> dict[str, Finding]:
    try:
        value = json.loads(path.read_bytes())
        return {name: _finding(found) for name, found in list(value["kinds"].items())[:KINDS_MAX]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _finding(found: Any) -> Finding:
    size, pays = found["micro_batch"], found["compile"]
    if not (size is None or (type(size) is int and size > 0)) or pays not in (None, True, False):
        raise ValueError("not a finding")
    return Finding(size, pays)
