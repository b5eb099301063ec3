"""What the machine's network has carried since it started, its own loop excluded."""

from __future__ import annotations

from typing import ClassVar

import psutil

from contributor.governor.sensors.sensor import Reading

__all__ = ["NetworkSensor"]


class NetworkSensor:
    """Bytes in and out of the whole machine, everybody's."""

    name: ClassVar[str] = "network"
    fields: ClassVar[tuple[str, ...]] = ("machine_sent_bytes", "machine_received_bytes")
    every_s: ClassVar[float] = 2.0

    def read(self) -> Reading:
        cards = [card for name, card in psutil.net_io_counters(pernic=True).items() if not name.startswith("lo")]
        sent, received = sum(card.bytes_sent for card in cards), sum(card.bytes_recv for card in cards)
        return Reading({"machine_sent_bytes": sent, "machine_received_bytes": received})
