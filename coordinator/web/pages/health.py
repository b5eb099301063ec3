"""How the run is: what to do, with the command that does it, and all numbers behind that."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from barnraise.metric import Readings
from coordinator.web.pages.findings import Finding, Numbers, judge, time_in_words
from coordinator.web.words import number, plural, size

__all__ = ["Group", "Health", "Reading", "health_view"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A number in words; ``tone`` is bad where a finding is about it."""

    name: str
    value: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Readings that belong together."""

    title: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """The page: findings, the gravest first, and all numbers."""

    findings: tuple[Finding, ...]
    groups: tuple[Group, ...]

    @property
    def worst(self) -> str:
        return self.findings[0].severity if self.findings else ""


def health_view(found: Readings, now_ms: int, run: str) -> Health:
    """Findings and numbers of one moment.

    Args:
        run: how the run folder is named in commands.
    """
    return Health(judge(found, now_ms, run), tuple(_groups(Numbers(found), now_ms / 1000)))


def _groups(numbers: Numbers, now_s: float) -> Iterator[Group]:
    def told(name: str, how: Callable[[float], str], *labels: str) -> str:
        value = numbers.one(name, *labels)
        return "not known" if value is None else how(value)

    def whole(value: float) -> str:
        return number(int(value))

    def since(at_s: float) -> str:
        return f"{time_in_words(now_s - at_s)} ago"

    def until(at_s: float) -> str:
        return f"in {time_in_words(at_s - now_s)}" if at_s > now_s else f"ended {time_in_words(now_s - at_s)} ago"

    yield Group(
        "Ledger",
        (
            Reading("Events", told("ledger_events_total", whole)),
            Reading("Not taken in yet", told("ledger_unread_events", whole)),
            Reading("Size", told("ledger_size_bytes", size)),
            Reading("Readable", told("ledger_readable", lambda value: "yes" if value else "no")),
        ),
    )
    parts = {labels[0]: value for labels, value in numbers.all("store_size_bytes").items()}
    files = {labels[0]: value for labels, value in numbers.all("store_files").items()}
    yield Group(
        "Store",
        tuple(
            Reading(part.capitalize(), f"{size(value)} in {plural(int(files.get(part, 0)), 'file')}")
            for part, value in parts.items()
        ),
    )
    forecast = numbers.one("disk_full_forecast_seconds")
    full = "not known" if forecast is None else time_in_words(forecast) if math.isfinite(forecast) else "nothing grows"
    yield Group(
        "Disk",
        (
            Reading("Free", told("disk_free_bytes", size)),
            Reading("Of", told("disk_size_bytes", size)),
            Reading("Full in", full),
            Reading("Last backup", told("backup_timestamp_seconds", since)),
        ),
    )
    resources = sorted({labels[0] for labels in numbers.all("ray_resources")})
    yield Group(
        "Compute",
        (
            Reading("Conductor's last sign", told("conductor_beat_timestamp_seconds", since)),
            Reading("Ray nodes", told("ray_nodes", whole, "yes")),
            *(
                Reading(_resource(name), f"{_amount(numbers, name, 'free')} free of {_amount(numbers, name, 'total')}")
                for name in resources
            ),
        ),
    )
    yield Group(
        "Queues",
        (
            Reading("Updates to check", told("updates", whole, "received")),
            Reading("Updates that wait for their round", told("updates", whole, "checked")),
            Reading("Leases out", told("leases_open", whole)),
            Reading("Uploads under way", told("uploads_staged", whole)),
            Reading("Tasks that run", told("ray_tasks", whole, "running")),
            Reading("Tasks that wait for room", told("ray_tasks", whole, "held")),
            Reading("Orders that wait", told("orders_waiting", whole)),
        ),
    )
    yield Group(
        "Release metadata holds",
        tuple(
            Reading(labels[0].capitalize(), until(at_s))
            for labels, at_s in numbers.all("metadata_expiry_timestamp_seconds").items()
        ),
    )


def _resource(name: str) -> str:
    return {"cpu": "CPUs", "gpu": "GPUs"}.get(name, name.replace("_", " ").capitalize())


def _amount(numbers: Numbers, name: str, state: str) -> str:
    value = numbers.one("ray_resources", name, state)
    return "?" if value is None else size(value) if "memory" in name else number(int(value))
