"""Hosts in a swarm that say they have blobs and do not give them: ``python swarm_liars.py SETTINGS``, a line of JSON.

Settings: ``run``, ``bootstrap``, ``folder`` for sockets. There is one host for each of ``WAYS``, which claims the
blobs whose digest ends in its number (:func:`claimed_by`). Prints the hosts' ids, one line of JSON; ends with stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from barnraise.swarm.blob_choice import Has
from barnraise.swarm.blob_lines import question_of, state_line

WAYS = ("other bytes", "without end", "nothing", "broken off")


def claimed_by(digest: str) -> int:
    """Which of them says that it has this blob."""
    return int(digest[-1], 16) % len(WAYS)


def _talk(way: int) -> Callable[..., Awaitable[None]]:
    async def talk(_info: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            question = question_of(await reader.readline())
            if claimed_by(question.digest) != way:
                writer.write(state_line(Has.NOT))
            elif not question.wants_bytes:
                writer.write(state_line(Has.WHOLE))
            else:
                await _give(WAYS[way], writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    return talk


async def _give(way: str, writer: asyncio.StreamWriter) -> None:
    if way == "nothing":
        await asyncio.sleep(3600)
    writer.write(state_line(Has.WHOLE))
    while way in {"other bytes", "without end"}:
        writer.write(bytes(1 << 16))
        await writer.drain()
    writer.write(b"the first bytes of something")


async def _lie(settings: dict[str, Any]) -> None:
    from hivemind.p2p import P2P
    from hivemind.utils import get_dht_time

    from barnraise.swarm.sidecar.host import Host, HostSettings

    host = await Host.start(HostSettings(bootstrap=tuple(settings["bootstrap"])), settings["folder"])
    addresses = [str(address) for address in await host.p2p.get_visible_maddrs()]
    peers = []
    for way in range(len(WAYS)):
        p2p = await P2P.create(initial_peers=[*settings["bootstrap"], *addresses], host_maddrs=["/ip4/127.0.0.1/tcp/0"])
        await p2p.add_binary_stream_handler(f"barnraise-blobs-1-{settings['run']}", _talk(way))
        peers.append(p2p)
        key, name = f"{settings['run']}.blobs", str(p2p.peer_id)
        await host.dht.store(key, True, get_dht_time() + 3600, subkey=name, return_future=True)
    print(json.dumps([str(p2p.peer_id) for p2p in peers]), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for p2p in peers:
        await p2p.shutdown()
    await host.stop()


if __name__ == "__main__":
    chosen = json.loads(sys.argv[1])
    Path(chosen["folder"]).mkdir(exist_ok=True)
    asyncio.run(_lie(chosen))
