"""Records into the DHT and out of it. What they say is for the owner to believe or not.

Asked for: ``publish`` (key, subkey, record, expires_at_ms), ``beacon`` and ``nodes`` (records under the run's keys),
``about`` (who can be reached, and where this host is), ``meet`` (addresses to try now).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from hivemind import DHT
from hivemind.dht.node import DHTNode
from hivemind.p2p import PeerID
from hivemind.utils.multiaddr import Multiaddr

from barnraise.errors import SwarmError
from barnraise.swarm.addresses import ADDRESSES_MAX, fault_of, peer_of
from barnraise.swarm.records import NODES_READ_MAX, RECORD_MAX_BYTES, beacon_key, nodes_key
from barnraise.swarm.sidecar.host import Host
from barnraise.swarm.sidecar.service import Command

__all__ = ["Discovery"]

LOOKUP_S = 20.0
MEET_S = 5.0


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
        done = self._host.dht.store(key, record, expires_s, subkey=str(asked["subkey"]), return_future=True)
        return {"stored": bool(await _within(done, "nobody took the record"))}

    async def _read_beacon(self, _asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"records": await self._records(self._beacon)}

    async def _read_nodes(self, _asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"records": await self._records(self._nodes)}

    async def _records(self, key: str) -> list[dict[str, str]]:
        """Those under a key, each with its subkey; at most so many, for anybody can make more."""
        looked = self._host.dht.get(key, latest=True, return_future=True)
        found = await _within(looked, "the look-up did not end")
        if found is None or not isinstance(found.value, dict):
            return []
        return [
            {"subkey": subkey, "record": item.value.decode("ascii")}
            for subkey, item in list(found.value.items())[:NODES_READ_MAX]
            if isinstance(subkey, str) and _fits(item.value)
        ]

    async def _about(self, _asked: Mapping[str, Any]) -> Mapping[str, Any]:
        known = await _within(self._host.dht.run_coroutine(_count_peers, return_future=True), "no answer")
        return {"peer": self._host.peer, "addresses": await self._host.addresses(), "peers": known}

    async def _meet(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Try addresses that were learned after the start."""
        addresses = [str(address) for address in asked["addresses"]][:ADDRESSES_MAX]
        others = [each for each in addresses if not fault_of(each, peer=True) and peer_of(each) != self._host.peer]
        met = self._host.dht.run_coroutine(partial(_meet_peers, addresses=others), return_future=True)
        return {"met": await _within(met, "nobody answered")}


async def _within(future: Any, otherwise: str) -> Any:
    """What a future of hivemind's gives.

    Raises:
        SwarmError: nothing, in time.
    """
    try:
        return await asyncio.wait_for(future, LOOKUP_S)
    except TimeoutError as error:
        raise SwarmError(f"{otherwise} within {LOOKUP_S:.0f} s") from error


def _fits(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) <= RECORD_MAX_BYTES and value.isascii()


# -- what runs in the DHT's own process ----------------------------------------------------------------------------


async def _count_peers(_dht: DHT, node: DHTNode) -> int:
    return len(node.protocol.routing_table.peer_id_to_uid)


async def _meet_peers(_dht: DHT, node: DHTNode, addresses: Sequence[str]) -> int:
    """How many of them answer; whoever does is in the routing table from now on."""

    async def meet(address: str) -> bool:
        where, peer = address.rsplit("/p2p/", 1)
        try:
            who = PeerID.from_base58(peer)
            await asyncio.wait_for(node.p2p._client.connect(who, [Multiaddr(where)]), MEET_S)
            return await asyncio.wait_for(node.protocol.call_ping(who), MEET_S) is not None
        except Exception:  # noqa: BLE001  whatever a stranger's address makes the daemon say: it was not met
            return False

    return sum(await asyncio.gather(*(meet(address) for address in addresses)))
