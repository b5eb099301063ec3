"""What a sensor is: a thin shell around one thing that the operating system tells.

A sensor never raises for a machine that lacks what it looks for. It then says that in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

__all__ = ["Reading", "Sensor", "nothing"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sensor saw.

    Attributes:
        values: fields of an observation. unknown: fields that it could not fill -> why.
    """

    values: Mapping[str, Any]
    unknown: Mapping[str, str] = field(default_factory=dict)


class Sensor(Protocol):
    """One look at the machine.

    Attributes:
        name: as policies ask for it. fields: of an observation, that it may fill.
        every_s: how long a reading holds.
    """

    name: ClassVar[str]
    fields: ClassVar[tuple[str, ...]]
    every_s: ClassVar[float]

    def read(self) -> Reading:
        """Look now."""


def nothing(fields: tuple[str, ...], reason: str) -> Reading:
    """A reading of a sensor that could not look."""
    return Reading({}, dict.fromkeys(fields, reason))
