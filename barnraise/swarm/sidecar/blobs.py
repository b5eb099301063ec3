"""Release blobs from and for other nodes, over libp2p streams of the run's open swarm.

What is said, decided and checked is in ``barnraise.swarm.blob_*``; here are hivemind's streams, and the DHT,
where nodes that give blobs leave their ids. Only blobs of released models are given: the store that is served
from, a node's cache of releases, holds nothing else.

Asked for: ``fetch`` (digest, size), ``limit`` (up_bytes_per_s, down_bytes_per_s, paused, for_s), ``blobs``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from hivemind.p2p import PeerID
from hivemind.utils import get_dht_time

from barnraise.digest import is_digest
from barnraise.errors import SwarmError
from barnraise.releases.store import BlobStore
from barnraise.swarm.blob_getting import Getter, Stream
from barnraise.swarm.blob_giving import Giver
from barnraise.swarm.blob_limits import Limits
from barnraise.swarm.blob_lines import usable
from barnraise.swarm.sidecar.faults import translated
from barnraise.swarm.sidecar.host import Host
from barnraise.swarm.sidecar.service import Command

__all__ = ["Blobs"]

PRESENT_FOR_S = 90.0
OPEN_S = 3.0
LOOK_S = 5.0
LOOK_AGAIN_S = 3.0  # into the DHT, for who is there, while blobs are wanted
TIDY_S = 30.0


class Blobs:
    """The part ``blobs``. Settings: ``store``, the folder of a :class:`BlobStore`, and ``into``, for what comes."""

    async def start(self, host: Host, settings: Mapping[str, Any]) -> None:
        own = settings["blobs"]
        self._host, self._key = host, f"{settings['run']}.blobs"
        self._protocol = f"barnraise-blobs-1-{settings['run']}"
        self._name = secrets.token_hex(8)  # of this start: its counts begin at zero
        self._others: list[str] = []
        self._look_lock, self._looked_at_s = asyncio.Lock(), float("-inf")
        self._getter = Getter(host.peer, Path(own["into"]), self._look, self._stream)
        self._giver = Giver(BlobStore(Path(own["store"])), self._getter.state)
        await host.p2p.add_binary_stream_handler(self._protocol, self._answer)
        self._tasks = [asyncio.create_task(self._stay_present()), asyncio.create_task(self._keep_tidy())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._getter.stop()

    def commands(self) -> Mapping[str, Command]:
        return {"fetch": self._fetch, "limit": self._limit, "blobs": self._told}

    # -- what the owner asks ------------------------------------------------------------------------

    async def _fetch(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """A blob, from another node: ``{"path": ..}``, or ``{"gateway": reason}``."""
        digest, size = arguments["digest"], arguments["size"]
        if not is_digest(digest) or not isinstance(size, int) or size < 0:
            raise SwarmError("a blob has a digest and a size")
        answer = await self._getter.get(digest, size)
        return {"gateway": answer.reason} if answer.path is None else {"path": str(answer.path)}

    async def _limit(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What may be given and fetched, for ``for_s`` from now; nothing is given before, nor afterwards."""
        limits = Limits(arguments["up_bytes_per_s"], arguments["down_bytes_per_s"], bool(arguments["paused"]))
        self._giver.allow(limits, arguments["for_s"])
        self._getter.allow(limits.down_bytes_per_s)
        return {}

    async def _told(self, _arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was given and taken since the start, which has a name; and what was decided last."""
        getter = self._getter
        return {
            "start": self._name,
            "given_bytes": self._giver.given_bytes,
            "taken_bytes": getter.taken_bytes,
            "wasted_bytes": getter.wasted_bytes,
            "from_gateway": getter.from_gateway,
            "retries": getter.retries,
            "liars": getter.liars,
            "nodes": len(self._others),
            "last": getter.last,
        }

    # -- streams --------------------------------------------------------------------------------------

    async def _answer(self, info: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._giver.answer(str(info.peer_id), reader, writer)

    @asynccontextmanager
    async def _stream(self, peer: str) -> AsyncIterator[Stream]:
        with translated("no stream to the node"):
            async with asyncio.timeout(OPEN_S):
                opened = self._host.p2p.call_binary_stream_handler(PeerID.from_base58(peer), self._protocol)
                _, reader, writer = await opened
        try:
            yield reader, writer
        finally:
            writer.close()

    # -- who is there ---------------------------------------------------------------------------------

    async def _stay_present(self) -> None:
        while True:
            expires = get_dht_time() + PRESENT_FOR_S
            with suppress(SwarmError):
                await self._host.store(self._key, self._host.peer, True, expires)
            await self._look()
            await asyncio.sleep(PRESENT_FOR_S / 3)

    async def _look(self) -> list[str]:
        """Ids of nodes that give blobs, as the DHT has them or had them a moment ago; hints, each."""
        async with self._look_lock:
            now_s = asyncio.get_running_loop().time()
            if now_s - self._looked_at_s > LOOK_AGAIN_S:
                with suppress(SwarmError):  # who was there before may still be
                    self._others = usable(await self._host.get(self._key, LOOK_S), self._host.peer)
                self._looked_at_s = asyncio.get_running_loop().time()
        return self._others

    async def _keep_tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_S)
            with suppress(OSError):
                self._getter.tidy()
