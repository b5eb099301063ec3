"""What the governor can look at, one file each."""

from __future__ import annotations

from pathlib import Path

from contributor.governor.sensors.battery import BatterySensor
from contributor.governor.sensors.clock import ClockSensor
from contributor.governor.sensors.disk import DiskSensor
from contributor.governor.sensors.gpu import GpuSensor
from contributor.governor.sensors.input_idle import InputSensor
from contributor.governor.sensors.memory import MemorySensor
from contributor.governor.sensors.metered import MeteredSensor
from contributor.governor.sensors.network import NetworkSensor
from contributor.governor.sensors.others import OthersSensor
from contributor.governor.sensors.pressure import PressureSensor
from contributor.governor.sensors.programs import ProgramsSensor
from contributor.governor.sensors.sensor import Reading, Sensor
from contributor.governor.sensors.temperature import TemperatureSensor

__all__ = ["Reading", "Sensor", "sensors_of"]


def sensors_of(folder: Path) -> tuple[Sensor, ...]:
    """Every sensor of this machine, for a node with this folder. None of them looks before it is asked."""
    return (
        ClockSensor(),
        InputSensor(),
        BatterySensor(),
        ProgramsSensor(),
        TemperatureSensor(),
        GpuSensor(),
        MemorySensor(),
        DiskSensor(folder),
        NetworkSensor(),
        MeteredSensor(),
        OthersSensor(),
        PressureSensor(),
    )
