"""Whether somebody pays by the byte for the network, as NetworkManager knows or guesses it."""

from __future__ import annotations

from typing import ClassVar

from contributor.governor.sensors.command import answer_of
from contributor.governor.sensors.sensor import Reading, nothing

__all__ = ["MeteredSensor", "of_property"]

# Source: NMMetered, https://networkmanager.dev/docs/api/latest/nm-dbus-types.html
ANSWERS = {"1": True, "2": False, "3": True, "4": False}  # yes, no, guessed yes, guessed no


class MeteredSensor:
    """NetworkManager's property Metered."""

    name: ClassVar[str] = "metered"
    fields: ClassVar[tuple[str, ...]] = ("metered",)
    every_s: ClassVar[float] = 30.0

    def read(self) -> Reading:
        path = "/org/freedesktop/NetworkManager"
        name = "org.freedesktop.NetworkManager"
        return of_property(answer_of("busctl", "get-property", name, path, name, "Metered"))


def of_property(told: str | None) -> Reading:
    """What busctl's answer means, "u 4"."""
    if told is None:
        return nothing(("metered",), "NetworkManager does not answer on this machine")
    metered = ANSWERS.get(told.split()[-1] if told else "")
    if metered is None:
        return nothing(("metered",), "NetworkManager does not know whether this network is metered")
    return Reading({"metered": metered})
