"""Release blobs from and for other nodes, over libp2p streams.

A stream asks one thing, in a line of JSON, and ends:

    {"ask": "state", "digest": "b3:.."}   ->  {"has": "whole"}
    {"ask": "blob", "digest": "b3:.."}    ->  {"has": "whole", "size": 182300} and the bytes, or another state

Whoever asks is a stranger, and so is whoever answers. A question is short or not read; bytes are counted and
hashed while they come, and a peer that lies is not asked again for an hour. Only blobs of released models
are given: the store that is served from holds nothing else.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from blake3 import blake3
from hivemind.p2p import PeerID
from hivemind.utils import get_dht_time

from barnraise.digest import is_digest
from barnraise.errors import SwarmError
from barnraise.releases.store import BlobStore
from barnraise.swarm.blob_choice import FromGateway, FromPeer, Has, Wait, choose, ranked
from barnraise.swarm.rate import Rate
from barnraise.swarm.sidecar.host import Host
from barnraise.swarm.sidecar.service import Command

__all__ = ["Blobs"]

PRESENT_FOR_S = 90.0
LINE_MAX_BYTES = 512
ASK_S = 3.0
PIECE_BYTES = 256 << 10
PIECE_S = 20.0  # for a piece to come, or to be taken
PEERS_MAX = 64
ASKED_MAX = 8  # peers that are asked about one blob
GIVING_MAX = 4
KEPT_S = 120.0  # of a blob that was fetched, for its owner to take over
SHUNNED_S = 3600.0
LOOK_AGAIN_S = 3.0  # into the DHT, for who is there
UNREACHED_S = 60.0


class Blobs:
    """The part ``blobs``. Settings: ``store``, the folder of a :class:`BlobStore`, and ``into``, for what comes."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._paused = False
        self._giving = 0
        self._fetches: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self._states: dict[str, tuple[Has, float]] = {}  # what we want, or fetch from the gateway, until when
        self._shunned: dict[str, float] = {}  # peer -> until when
        self._tasks: list[asyncio.Task[None]] = []
        self._counts = dict.fromkeys(
            ("from_peers_bytes", "given_bytes", "from_peers", "from_gateway", "retries", "liars"), 0
        )
        self._names: list[str] = []
        self._looked_at_s = -LOOK_AGAIN_S
        self._last = ""

    async def start(self, host: Host, settings: Mapping[str, Any]) -> None:
        own = settings["blobs"]
        self._host, self._key = host, f"{settings['run']}.blobs"
        self._protocol = f"barnraise-blobs-1-{settings['run']}"
        self._store, self._into = BlobStore(Path(own["store"])), Path(own["into"])
        self._into.mkdir(parents=True, exist_ok=True)
        for left in self._into.iterdir():
            left.unlink()
        await host.p2p.add_binary_stream_handler(self._protocol, self._answer)
        self._tasks = [asyncio.create_task(self._stay_present()), asyncio.create_task(self._tidy())]

    async def stop(self) -> None:
        tasks = [*self._tasks, *self._fetches.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def commands(self) -> Mapping[str, Command]:
        return {"fetch": self._fetch, "limit": self._limit, "blobs": self._told}

    # -- what the owner asks ------------------------------------------------------------------------

    async def _fetch(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """A blob, from another node: ``{"path": ..}``, or ``{"gateway": reason}``."""
        digest, size = arguments["digest"], arguments["size"]
        if not is_digest(digest) or not isinstance(size, int) or size < 0:
            raise SwarmError("a blob has a digest and a size")
        if digest not in self._fetches:
            self._fetches[digest] = asyncio.create_task(self._fetched(digest, size))
        return await asyncio.shield(self._fetches[digest])

    async def _limit(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """How much may be given: ``up_bytes_per_s`` (None: no limit) and ``paused``."""
        self._rate.limit(arguments["up_bytes_per_s"])
        self._paused = bool(arguments["paused"])
        return {}

    async def _told(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was given and taken since the start, and who is there."""
        return {**self._counts, "nodes": len(await self._others()), "last": self._last}

    # -- getting -------------------------------------------------------------------------------------

    async def _fetched(self, digest: str, size: int) -> dict[str, Any]:
        began_s = time.monotonic()
        self._states[digest] = (Has.WANTED, began_s + KEPT_S)
        while True:
            said = await self._ask_around(digest)
            decision = choose(digest, size, self._host.peer, said, time.monotonic() - began_s)
            self._last = decision.reason
            match decision:
                case FromPeer(peer):
                    if (path := await self._taken(peer, digest, size)) is not None:
                        self._states.pop(digest, None)
                        return {"path": str(path), "peer": peer}
                case Wait(wait_s):
                    await asyncio.sleep(wait_s)
                case FromGateway(reason):
                    self._counts["from_gateway"] += 1
                    self._states[digest] = (Has.COMING, time.monotonic() + KEPT_S)
                    return {"gateway": reason}

    async def _ask_around(self, digest: str) -> dict[str, Has]:
        """What those say who rank first for this blob; who does not answer is left alone for a while."""
        peers = ranked(digest, await self._others())[:ASKED_MAX]
        said = await asyncio.gather(*(self._ask(peer, digest) for peer in peers))
        return {peer: has for peer, has in zip(peers, said, strict=True) if has is not None}

    async def _ask(self, peer: str, digest: str) -> Has | None:
        try:
            async with asyncio.timeout(ASK_S), self._asking(peer, {"ask": "state", "digest": digest}) as (reader, _):
                return Has(json.loads(await reader.readline())["has"])
        except Exception:  # noqa: BLE001  hivemind raises all kinds, and what a stranger says is anything
            self._shunned[peer] = time.monotonic() + UNREACHED_S
            return None

    async def _taken(self, peer: str, digest: str, size: int) -> Path | None:
        """A blob from a peer, verified, in a file of its own; None if it was not that."""
        path = self._into / digest[3:]
        try:
            async with self._asking(peer, {"ask": "blob", "digest": digest}) as (reader, _):
                async with asyncio.timeout(ASK_S):
                    answer = json.loads(await reader.readline())
                if answer["has"] != Has.WHOLE.value:
                    return None  # busy by now; ask around again
                hasher, left = blake3(), size
                with path.open("wb") as file:
                    while left:
                        async with asyncio.timeout(PIECE_S):
                            piece = await reader.read(min(left, PIECE_BYTES))
                        if not piece:
                            break
                        file.write(piece)
                        hasher.update(piece)
                        left -= len(piece)
                        self._counts["from_peers_bytes"] += len(piece)
        except Exception as error:  # noqa: BLE001  as above
            self._refused(peer, path, UNREACHED_S, f"it broke off: {type(error).__name__}")
            return None
        if left or f"b3:{hasher.hexdigest()}" != digest:
            self._counts["liars"] += 1
            self._refused(peer, path, SHUNNED_S, "it sent something else")
            return None
        self._counts["from_peers"] += 1
        return path

    def _refused(self, peer: str, path: Path, shunned_s: float, why: str) -> None:
        path.unlink(missing_ok=True)
        self._counts["retries"] += 1
        self._shunned[peer] = time.monotonic() + shunned_s
        self._last = f"another node was asked instead of {peer[-8:]}: {why}"

    @asynccontextmanager
    async def _asking(
        self, peer: str, question: Mapping[str, str]
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with asyncio.timeout(ASK_S):
            _, reader, writer = await self._host.p2p.call_binary_stream_handler(
                PeerID.from_base58(peer), self._protocol
            )
        try:
            writer.write(json.dumps(question).encode("ascii") + b"\n")
            await writer.drain()
            yield reader, writer
        finally:
            writer.close()

    # -- giving ---------------------------------------------------------------------------------------

    async def _answer(self, info: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question of a stranger's."""
        try:
            async with asyncio.timeout(ASK_S):
                line = await reader.readuntil(b"\n")
            question = json.loads(line) if len(line) <= LINE_MAX_BYTES else None
            digest = question.get("digest") if isinstance(question, dict) else None
            if question is None or not isinstance(digest, str) or not is_digest(digest):
                return
            has = self._state(digest)
            if question["ask"] == "blob" and has is Has.WHOLE:
                await self._give(digest, writer)
            else:
                await _sent(writer, json.dumps({"has": has.value}).encode("ascii") + b"\n")
        except Exception:  # noqa: BLE001  whatever a stranger does, or a connection, ends this stream only
            return
        finally:
            with suppress(Exception):
                writer.close()

    def _state(self, digest: str) -> Has:
        """What we say about a blob."""
        if self._store.has(digest):
            if self._paused:
                return Has.NOT
            return Has.WHOLE if self._giving < GIVING_MAX else Has.BUSY
        has, until_s = self._states.get(digest, (Has.NOT, 0.0))
        return has if time.monotonic() < until_s else Has.NOT

    async def _give(self, digest: str, writer: asyncio.StreamWriter) -> None:
        self._giving += 1
        try:
            with self._store.path(digest).open("rb") as file:
                size = self._store.size(digest)
                await _sent(writer, json.dumps({"has": Has.WHOLE.value, "size": size}).encode("ascii") + b"\n")
                while piece := file.read(PIECE_BYTES):
                    await asyncio.sleep(self._rate.pause_s(len(piece), time.monotonic()))
                    await _sent(writer, piece)
                    self._counts["given_bytes"] += len(piece)
                    if self._paused:
                        return
        finally:
            self._giving -= 1

    # -- who is there ---------------------------------------------------------------------------------

    async def _stay_present(self) -> None:
        while True:
            expires = get_dht_time() + PRESENT_FOR_S
            with suppress(Exception):
                await self._host.dht.store(self._key, True, expires, subkey=self._host.peer, return_future=True)
            await asyncio.sleep(PRESENT_FOR_S / 3)

    async def _others(self) -> list[str]:
        """Peer ids of nodes that give blobs, as the DHT has them; hints, each."""
        now_s = time.monotonic()
        if now_s - self._looked_at_s > LOOK_AGAIN_S:
            self._looked_at_s = now_s
            found = await self._host.dht.get(self._key, latest=True, return_future=True)
            names = found.value if found is not None and isinstance(found.value, dict) else {}
            self._names = sorted(name for name in names if isinstance(name, str) and name != self._host.peer)
        return [name for name in self._names if self._shunned.get(name, 0.0) <= now_s][:PEERS_MAX]

    async def _tidy(self) -> None:
        """Drop what is over: fetched files that nobody took, states, peers that are forgiven."""
        while True:
            await asyncio.sleep(KEPT_S / 4)
            now_s, now = time.monotonic(), time.time()
            for path in self._into.iterdir():
                if now - path.stat().st_mtime > KEPT_S:
                    path.unlink(missing_ok=True)
            self._states = {digest: kept for digest, kept in self._states.items() if kept[1] > now_s}
            self._shunned = {peer: until_s for peer, until_s in self._shunned.items() if until_s > now_s}
            self._fetches = {digest: task for digest, task in self._fetches.items() if not task.done()}


async def _sent(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    async with asyncio.timeout(PIECE_S):
        await writer.drain()
