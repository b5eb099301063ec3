"""The open swarm of a run: one host, and on it those parts that its owner wants.

Settings: ``host``, ``run``, ``coordinator``, and for each part that is wanted its own settings under its name.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

from barnraise.swarm.sidecar.host import Host, HostSettings
from barnraise.swarm.sidecar.service import Command
from barnraise.swarm.sidecar.validator import SwarmRecords

__all__ = ["PARTS", "Part", "Peers"]

PARTS = {
    "discovery": "barnraise.swarm.sidecar.discovery:Discovery",
    "blobs": "barnraise.swarm.sidecar.blobs:Blobs",
    "meeting": "barnraise.swarm.sidecar.meeting:Meeting",
}


class Part(Protocol):
    """Something that is done on a host. It is made without arguments."""

    async def start(self, host: Host, settings: Mapping[str, Any]) -> None:
        """Begin. ``settings`` are those of the whole service."""

    def commands(self) -> Mapping[str, Command]:
        """What it can be asked, by names that no other part has."""

    async def stop(self) -> None:
        """End what was begun; the host still runs."""


class Peers:
    """The service ``peers``."""

    def __init__(self) -> None:
        self._host: Host | None = None
        self._parts: list[Part] = []

    async def start(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        records = [SwarmRecords(settings["run"], settings["coordinator"])] if "coordinator" in settings else []
        self._host = host = await Host.start(HostSettings.read(settings), settings["folder"], records)
        for name, where in PARTS.items():
            if name in settings:
                module, _, attribute = where.partition(":")
                part: Part = getattr(importlib.import_module(module), attribute)()
                await part.start(host, settings)
                self._parts.append(part)
        return {"peer": host.peer, "addresses": await host.addresses(), "alone": host.alone}

    def commands(self) -> Mapping[str, Command]:
        return {name: command for part in self._parts for name, command in part.commands().items()}

    async def fault(self) -> str:
        return "" if self._host is None else await self._host.fault()

    async def stop(self) -> None:
        for part in reversed(self._parts):
            await part.stop()
        if self._host is not None:
            await self._host.stop()
