"""How the conductor is, in a file that it writes every few seconds and whoever watches reads.

    RUN/status/conductor.json

The gateway knows nothing of Ray, and Ray's numbers are not worth an event in the ledger: they are
true for some seconds. A reader looks at ``at_ms`` first: a conductor that hangs or is gone writes no more.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from barnraise.run_folder import RunFolder

__all__ = ["RayNode", "Resource", "Vitals", "read_status", "read_vitals", "write_status", "write_vitals"]

BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Resource:
    """What Ray's nodes have of something (CPU, GPU: pieces; memory, object_store_memory: bytes), and what is free."""

    name: str
    total: float
    free: float


@dataclass(frozen=True, slots=True)
class RayNode:
    """A machine of the cluster. ``metrics`` is HOST:PORT of Ray's own Prometheus endpoint on it, "" without one."""

    address: str
    alive: bool
    metrics: str


@dataclass(frozen=True, slots=True)
class Vitals:
    """The conductor at ``at_ms``.

    Attributes:
        started_at_ms: when its process began; a newer one means that it was started again.
        tasks_running: tasks that Ray has. tasks_held: those that wait for room before Ray gets them.
    """

    at_ms: int
    started_at_ms: int
    tasks_running: int
    tasks_held: int
    nodes: tuple[RayNode, ...] = ()
    resources: tuple[Resource, ...] = ()


def write_vitals(folder: RunFolder, vitals: Vitals) -> None:
    """Put them where :func:`read_vitals` finds them."""
    write_status(folder.status / "conductor.json", asdict(vitals))


def read_vitals(folder: RunFolder) -> Vitals | None:
    """The newest vitals; None when there never was a conductor, or another version of Barnraise wrote them."""
    value = read_status(folder.status / "conductor.json")
    try:
        value["nodes"] = tuple(RayNode(**node) for node in value["nodes"])
        value["resources"] = tuple(Resource(**one) for one in value["resources"])
        return Vitals(**value)
    except (KeyError, TypeError):
        return None


def write_status(path: Path, value: object) -> None:
    """Replace a status file as a whole. Not durable on purpose: after a power cut nobody needs it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(json.dumps(value), encoding="ascii")
    temporary.replace(path)


def read_status(path: Path) -> dict[str, Any]:
    """What a status file says; {} when it is missing or nonsense."""
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(BYTES_MAX))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
