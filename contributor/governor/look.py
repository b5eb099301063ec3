"""Puts an observation together from those sensors that somebody needs, each asked no more often than it wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from contributor.governor.observation import NodeCounters, Observation
from contributor.governor.sensors.sensor import Reading, Sensor, nothing

__all__ = ["Look"]


@dataclass
class Look:
    """The sensors of one machine.

    Attributes:
        now_ms: milliseconds since the epoch. clock_s: monotonic seconds.
        always: names of sensors that are asked also when no policy needs them.
    """

    sensors: tuple[Sensor, ...]
    now_ms: Callable[[], int]
    clock_s: Callable[[], float]
    always: frozenset[str] = frozenset()
    _readings: dict[str, tuple[float, Reading]] = field(default_factory=dict)

    def around(self, wanted: Iterable[str], node: NodeCounters) -> Observation:
        """What the sensors with these names say now, or said a moment ago."""
        names, clock_s = self.always.union(wanted), self.clock_s()
        values: dict[str, Any] = {}
        unknown: dict[str, str] = {}
        read_at_s: dict[str, float] = {}
        for sensor in self.sensors:
            if sensor.name in names:
                at_s, reading = self._reading(sensor, clock_s)
                values |= reading.values
                unknown |= reading.unknown
                if at_s < clock_s:
                    read_at_s[sensor.name] = at_s
        return Observation(
            at_ms=self.now_ms(), clock_s=clock_s, node=node, unknown=unknown, read_at_s=read_at_s, **values
        )

    def _reading(self, sensor: Sensor, clock_s: float) -> tuple[float, Reading]:
        """A reading, and when it was made."""
        before = self._readings.get(sensor.name)
        if before is not None and clock_s - before[0] < sensor.every_s:
            return before
        try:
            reading = sensor.read()
        except Exception as error:  # noqa: BLE001  # a sensor meets every machine there is, and a node must not die of one
            reading = nothing(sensor.fields, f"the sensor {sensor.name!r} failed: {error!r}")
        self._readings[sensor.name] = clock_s, reading
        return clock_s, reading
