"""How the run is: what to do, with the command that does it, and all numbers behind that."""

from __future__ import annotations

import math
from collections.abc import Callable
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
    return Health(judge(found, now_ms, run), _groups(_Teller(Numbers(found), now_ms / 1000)))


@dataclass(frozen=True, slots=True)
class _Teller:
    """Numbers of one moment in words."""

    numbers: Numbers
    now_s: float

    def told(self, name: str, how: Callable[[float], str], *labels: str) -> str:
        value = self.numbers.one(name, *labels)
        return "not known" if value is None else how(value)

    def whole(self, name: str, *labels: str) -> str:
        return self.told(name, lambda value: number(int(value)), *labels)

    def since(self, name: str) -> str:
        return self.told(name, lambda at_s: f"{time_in_words(self.now_s - at_s)} ago")

    def until(self, at_s: float) -> str:
        left_s = at_s - self.now_s
        return f"in {time_in_words(left_s)}" if left_s > 0 else f"ended {time_in_words(-left_s)} ago"


def _groups(tell: _Teller) -> tuple[Group, ...]:
    return (
        _ledger(tell),
        _store(tell.numbers),
        _disk(tell),
        _compute(tell),
        _queues(tell),
        _metadata(tell),
    )


def _ledger(tell: _Teller) -> Group:
    readable = tell.told("ledger_readable", lambda value: "yes" if value else "no")
    return Group(
        "Ledger",
        (
            Reading("Events", tell.whole("ledger_events_total")),
            Reading("Not taken in yet", tell.whole("ledger_unread_events")),
            Reading("Size", tell.told("ledger_size_bytes", size)),
            Reading("Readable", readable),
        ),
    )


def _store(numbers: Numbers) -> Group:
    files = numbers.all("store_files")
    parts = numbers.all("store_size_bytes").items()
    return Group(
        "Store",
        tuple(
            Reading(part.capitalize(), f"{size(value)} in {plural(int(files.get((part,), 0)), 'file')}")
            for (part,), value in parts
        ),
    )


def _disk(tell: _Teller) -> Group:
    full = tell.told(
        "disk_full_forecast_seconds", lambda left_s: time_in_words(left_s) if math.isfinite(left_s) else "nothing grows"
    )
    return Group(
        "Disk",
        (
            Reading("Free", tell.told("disk_free_bytes", size)),
            Reading("Of", tell.told("disk_size_bytes", size)),
            Reading("Full in", full),
            Reading("Last backup", tell.since("backup_timestamp_seconds")),
        ),
    )


def _compute(tell: _Teller) -> Group:
    resources = sorted({name for name, _ in tell.numbers.all("ray_resources")})
    return Group(
        "Compute",
        (
            Reading("Conductor's last sign", tell.since("conductor_beat_timestamp_seconds")),
            Reading("Ray nodes", tell.whole("ray_nodes", "yes")),
            *(
                Reading(_resource(name), f"{_amount(tell, name, 'free')} free of {_amount(tell, name, 'total')}")
                for name in resources
            ),
        ),
    )


def _queues(tell: _Teller) -> Group:
    return Group(
        "Queues",
        (
            Reading("Updates to check", tell.whole("updates", "received")),
            Reading("Updates that wait for their round", tell.whole("updates", "checked")),
            Reading("Leases out", tell.whole("leases_open")),
            Reading("Uploads under way", tell.whole("uploads_staged")),
            Reading("Tasks that run", tell.whole("ray_tasks", "running")),
            Reading("Tasks that wait for room", tell.whole("ray_tasks", "held")),
            Reading("Orders that wait", tell.whole("orders_waiting")),
        ),
    )


def _metadata(tell: _Teller) -> Group:
    ends = tell.numbers.all("metadata_expiry_timestamp_seconds").items()
    return Group(
        "Release metadata holds", tuple(Reading(role.capitalize(), tell.until(at_s)) for (role,), at_s in ends)
    )


def _resource(name: str) -> str:
    return {"cpu": "CPUs", "gpu": "GPUs"}.get(name, name.replace("_", " ").capitalize())


def _amount(tell: _Teller, name: str, state: str) -> str:
    value = tell.numbers.one("ray_resources", name, state)
    return "?" if value is None else size(value) if "memory" in name else number(int(value))
