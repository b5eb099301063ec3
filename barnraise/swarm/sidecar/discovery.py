"""Records into the DHT and out of it. What they say is for the owner to believe or not.

Asked for: ``publish`` (key, subkey, record, expires_at_ms), ``beacon`` and ``nodes`` (records under the run's keys),
``about`` (who can be reached, and where this host is), ``meet`` (addresses to try now).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from barnraise.swarm.records import NODES_READ_MAX, RECORD_MAX_BYTES, beacon_key, nodes_key
from barnraise.swarm.sidecar.host import Host
from barnraise.swarm.sidecar.service import Command

__all__ = ["Discovery"]


class Discovery:
    """The part ``discovery``. Settings: ``run`` and ``coordinator`` of the whole service."""

    async def start(self, host: Host, settings: Mapping[str, Any]) -> None:
        self._host = host
        self._beacon = beacon_key(settings["run"], settings["coordinator"])
        self._nodes = nodes_key(settings["run"], settings["coordinator"])

    async def stop(self) -> None:
        """Nothing was begun: the host does the work."""

    def commands(self) -> Mapping[str, Command]:
        return {
            "publish": self._publish,
            "beacon": self._read_beacon,
            "nodes": self._read_nodes,
            "about": self._about,
            "meet": self._meet,
        }

    async def _publish(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Store a record; ``stored`` says whether anybody, this host included, has taken it."""
        key = {"beacon": self._beacon, "nodes": self._nodes}[asked["what"]]
        record = str(asked["record"]).encode("ascii")
        expires_s = int(asked["expires_at_ms"]) / 1000
        return {"stored": await self._host.store(key, str(asked["subkey"]), record, expires_s)}

    async def _read_beacon(self, _asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"records": await self._records(self._beacon)}

    async def _read_nodes(self, _asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"records": await self._records(self._nodes)}

    async def _records(self, key: str) -> list[dict[str, str]]:
        """Those under a key, each with its subkey; at most so many, for anybody can make more."""
        found = await self._host.get(key)
        return [
            {"subkey": subkey, "record": value.decode("ascii")}
            for subkey, value in islice(found.items(), NODES_READ_MAX)
            if _fits(value)
        ]

    async def _about(self, _asked: Mapping[str, Any]) -> Mapping[str, Any]:
        host = self._host
        return {"peer": host.peer, "addresses": await host.addresses(), "peers": await host.known()}

    async def _meet(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Try addresses that were learned after the start."""
        return {"met": len(await self._host.meet(map(str, asked["addresses"])))}


def _fits(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) <= RECORD_MAX_BYTES and value.isascii()
