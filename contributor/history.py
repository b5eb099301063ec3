"""What this node trained, and what became of each unit: a file that only grows, until it is cut in half.

One JSON object a line, an event of the node with its time, on the disk before the node goes
on. A line that a crash has torn is skipped by whoever reads, and never hides the next one. An
event that is noted twice, because the node was killed between the note and the commit of its
state, is told once: units are found by their update's digest.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from barnraise.releases.durable import fsync_folder, replace_file
from contributor.events import NodeEvent

__all__ = ["Journal", "UnitLine", "read_history", "units_of"]

NOTED = frozenset({"finished", "sent", "received", "fate", "carried"})
FILE_MAX_BYTES = 4 * 1024 * 1024
LINE_MAX_BYTES = 8 * 1024
UNWRITTEN_MAX = 1000


@dataclass(frozen=True, slots=True)
class UnitLine:
    """A unit, as far as this node knows.

    Attributes:
        at_ms: when it was trained. seconds: of training in the process that finished it.
        bytes: of the update on the wire; 0 before it was sent.
        state: ``outbox`` until there is a receipt, ``received`` until its fate is known, then the fate.
        version: the release that holds it; None where none does.
        device, busy: what trained it, and the share of that which it kept busy; None where nothing tells.
    """

    digest: str
    at_ms: int
    round: int
    base_version: str
    shard: str
    steps: int
    tokens: int
    seconds: float
    loss_first: float
    loss_last: float
    bytes: int = 0
    state: str = "outbox"
    reason: str = ""
    version: str | None = None
    device: str = ""
    busy: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Journal:
    """Appends to one node's history.

    Attributes:
        failure: why the last line could not be written, "" when all are.
    """

    def __init__(self, path: Path) -> None:
        self.failure = ""
        self._path = path
        self._unwritten: deque[bytes] = deque(maxlen=UNWRITTEN_MAX)

    def note(self, event: NodeEvent, at_ms: int) -> None:
        """Keep an event, if it belongs into the history. A full disk delays that and never stops the node."""
        if event.kind not in NOTED:
            return
        line = json.dumps({"at_ms": at_ms, **event.as_json()}, sort_keys=True).encode("ascii")
        self._unwritten.append(line[:LINE_MAX_BYTES])
        try:
            _append(self._path, b"".join(line + b"\n" for line in self._unwritten))
        except OSError as error:
            self.failure = f"the history could not be written: {error.strerror or error}"
        else:
            self.failure = ""
            self._unwritten.clear()


def read_history(path: Path) -> list[UnitLine]:
    """The units of a history, oldest first; [] where there is none yet."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return units_of(event for line in lines if (event := _read(line)) is not None)


def units_of(events: Iterable[dict[str, Any]]) -> list[UnitLine]:
    """Events as :class:`Journal` keeps them, put together to units."""
    units: dict[str, UnitLine] = {}
    for event in events:
        try:
            _tell(units, event)
        except (KeyError, TypeError):  # of another version: what can be told is told
            continue
    return list(units.values())


def _tell(units: dict[str, UnitLine], event: dict[str, Any]) -> None:
    digest = event["digest"]
    if event["event"] == "finished":
        told = {name: event[name] for name in UnitLine.__dataclass_fields__ if name in event}
        units.setdefault(digest, UnitLine(**told))
    elif digest in units and event["event"] == "carried":
        units[event["by"]] = replace(units.pop(digest), digest=event["by"], bytes=0)
    elif digest in units and event["event"] == "sent":
        units[digest] = replace(units[digest], bytes=event["bytes"])
    elif digest in units and event["event"] == "received":
        units[digest] = replace(units[digest], state="received", reason="waits for its round")
    elif digest in units and event["event"] == "fate":
        fate = {"state": event["state"], "reason": event["reason"], "version": event.get("version")}
        units[digest] = replace(units[digest], **fate)


def _append(path: Path, data: bytes) -> None:
    """Add whole lines, on the disk when this returns; begins a line of its own even after a torn one."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (b"\n" if torn else b"") + data)
        os.fsync(descriptor)
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if is_new:
        fsync_folder(path.parent)
    if size > FILE_MAX_BYTES:
        kept = path.read_bytes()[-FILE_MAX_BYTES // 2 :]
        replace_file(path, kept[kept.index(b"\n") + 1 :])


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("digest"), str) else None
