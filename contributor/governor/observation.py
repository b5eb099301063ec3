"""Everything that sensors can say of the machine at one moment.

A field is None where it cannot be known, and ``unknown`` then says why. Policies are functions of this and nothing
else, so an observation that was written down can be judged again later, by a test or by ``barnraise policy explain``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["Gpu", "NodeCounters", "Observation"]

OF_NO_SENSOR = {"unknown", "node", "read_at_s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One graphics card.

    Attributes:
        used_bytes: of its memory, by everybody. ours_bytes: by this node; None where the driver does not tell.
        busy_share: of the last second, in [0, 1].
    """

    index: int
    name: str
    celsius: float | None = None
    watts: float | None = None
    used_bytes: int | None = None
    total_bytes: int | None = None
    ours_bytes: int | None = None
    busy_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCounters:
    """What the node itself has done since it started; they only grow.

    Attributes:
        trained_s: wall time inside steps. steps: that were done.
        step_s, micro_batch: of the last step; zero before the first. context: tokens an example has.
        sent_bytes, received_bytes: of updates and releases.
        ram_bytes: that this process holds now.
    """

    trained_s: float = 0.0
    steps: int = 0
    step_s: float = 0.0
    micro_batch: int = 0
    context: int = 1
    sent_bytes: int = 0
    received_bytes: int = 0
    ram_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The machine as it is seen now.

    Attributes:
        at_ms: milliseconds since the Unix epoch. clock_s: monotonic seconds.
        utc_offset_s: of local time at this moment, daylight saving included.
        input_idle_s: since somebody last used keyboard or mouse.
        battery_share: of a full charge, in [0, 1]; None without a battery.
        programs: names of running programs, in lower case and without ``.exe``.
        disk_free_bytes: where the node's folder is.
        metered: whether somebody pays by the byte for the network.
        others_cpu_s: processor time of everything but this node, ever growing.
        others_wait_s: time that these spent ready to run but waiting for a processor, ever growing.
        cpu_pressure, memory_pressure, io_pressure: share of the last 10 s in which some process waited for it.
        unknown: name of a field that is None -> why.
        read_at_s: name of a sensor -> clock_s at which it looked, where that was earlier; its fields are of then.
    """

    at_ms: int
    clock_s: float
    utc_offset_s: float | None = None
    input_idle_s: float | None = None
    on_battery: bool | None = None
    battery_share: float | None = None
    programs: frozenset[str] | None = None
    cpu_celsius: float | None = None
    gpus: tuple[Gpu, ...] | None = None
    ram_free_bytes: int | None = None
    ram_total_bytes: int | None = None
    disk_free_bytes: int | None = None
    machine_sent_bytes: int | None = None
    machine_received_bytes: int | None = None
    metered: bool | None = None
    cpus: int | None = None
    others_cpu_s: float | None = None
    others_wait_s: float | None = None
    cpu_pressure: float | None = None
    memory_pressure: float | None = None
    io_pressure: float | None = None
    node: NodeCounters = NodeCounters()
    unknown: Mapping[str, str] = field(default_factory=dict)
    read_at_s: Mapping[str, float] = field(default_factory=dict)

    def why_not(self, name: str) -> str:
        """Why the field ``name`` is not known, in words that end a sentence."""
        return self.unknown.get(name, "no sensor for it is in use")

    def is_fresh(self, sensor: str) -> bool:
        """Whether what a sensor said is of this moment, as the counters of the node are."""
        return sensor not in self.read_at_s

    def known(self) -> dict[str, Any]:
        """The fields that sensors could fill, by name."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in told.items() if value is not None and name not in OF_NO_SENSOR}
