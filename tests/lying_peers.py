"""Peers of a DHT that lie to whoever asks, for a test to start: ``python tests/lying_peers.py``, settings on stdin.

Twenty hosts in one process. Asked for anything, each names only the others as neighbours, and gives one of the records
that it was told to give, whatever is asked for, or nothing at all, or never answers. What it is told to store it
forgets. It says where the hosts are in one line, and ends with standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import cycle
from typing import Any

from hivemind.dht.node import DHTNode
from hivemind.dht.protocol import DHTProtocol
from hivemind.dht.routing import DHTID
from hivemind.dht.storage import DictionaryDHTValue
from hivemind.p2p import P2P, P2PContext
from hivemind.proto import dht_pb2
from hivemind.utils import MSGPackSerializer, get_dht_time

__all__ = ["main"]

SILENCE_S = 3600.0
START_S = 120.0
AT_ONCE = 4


class Liar:
    """What all of them know: each other, and whom to lie to about what.

    Attributes:
        lies: key -> {"subkey", "record", "expires_s"} to give; a record of None is "I know nothing".
    """

    def __init__(self, lies: dict[str, list[dict[str, Any]]]) -> None:
        self.lies = {DHTID.generate(source=key).to_bytes(): cycle(given) for key, given in lies.items()}
        self.nodes: list[DHTNode] = []

    async def answer(self, request: Any, own: DHTNode) -> Any:
        response = dht_pb2.FindResponse(results=[], peer=own.protocol.node_info)
        for key in request.keys:
            lie = next(self.lies[key]) if key in self.lies else {}
            if lie.get("mute"):
                await asyncio.sleep(SILENCE_S)
            response.results.append(self._result(lie))
        return response

    def _result(self, lie: dict[str, Any]) -> Any:
        result = dht_pb2.FindResult(type=dht_pb2.NOT_FOUND)
        if "record" in lie:
            given = DictionaryDHTValue()
            expires_s = lie.get("expires_s") or get_dht_time() + 3000
            given.store(lie["subkey"], MSGPackSerializer.dumps(lie["record"].encode()), expires_s)
            packed = MSGPackSerializer.dumps(given)
            result = dht_pb2.FindResult(type=dht_pb2.FOUND_DICTIONARY, value=packed, expiration_time=expires_s)
        for node in self.nodes:
            result.nearest_node_ids.append(node.node_id.to_bytes())
            result.nearest_peer_ids.append(node.peer_id.to_bytes())
        return result


async def main() -> None:
    asked = json.loads(sys.stdin.readline())
    liar = Liar(asked["lies"])
    own: dict[int, DHTNode] = {}

    async def rpc_find(self: DHTProtocol, request: dht_pb2.FindRequest, context: P2PContext) -> dht_pb2.FindResponse:
        return await liar.answer(request, own[id(self)])

    async def rpc_store(self: DHTProtocol, request: dht_pb2.StoreRequest, context: P2PContext) -> dht_pb2.StoreResponse:
        return dht_pb2.StoreResponse(store_ok=[True] * len(request.keys), peer=self.node_info)

    DHTProtocol.rpc_find, DHTProtocol.rpc_store = rpc_find, rpc_store

    at_once = asyncio.Semaphore(AT_ONCE)

    async def begin() -> list[str]:
        async with at_once:
            p2p = await P2P.create(host_maddrs=["/ip4/127.0.0.1/tcp/0"], use_ipfs=False, startup_timeout=START_S)
            node = await DHTNode.create(p2p=p2p, initial_peers=[])
        own[id(node.protocol)] = node
        liar.nodes.append(node)
        return [str(address) for address in await p2p.get_visible_maddrs()]

    P2P._UNIX_SOCKET_PREFIX = f"/unix{asked['folder']}/"
    addresses = await asyncio.gather(*(begin() for _ in range(asked["count"])))
    print(json.dumps({"addresses": [each for one in addresses for each in one]}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await asyncio.gather(*(node.p2p.shutdown() for node in liar.nodes))


if __name__ == "__main__":
    asyncio.run(main())
