"""Nodes that get blobs from each other and give them, over streams in memory; some of them not as they should.

town = Town(tmp_path)
town.holder("a", BLOB)
town.peers["liar"] = lies
answer = await town.getter("me").get(digest, size)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

from barnraise.releases.store import BlobStore
from barnraise.swarm.blob_choice import Has
from barnraise.swarm.blob_getting import Getter, Stream
from barnraise.swarm.blob_giving import Giver
from barnraise.swarm.blob_limits import Limits
from barnraise.swarm.blob_lines import question_of, state_line

__all__ = [
    "DAY_S",
    "Mouth",
    "Peer",
    "Town",
    "ear",
    "ends_early",
    "gives",
    "is_away",
    "lies",
    "mouth",
    "mute",
    "never_ends",
    "said",
    "talks_nonsense",
    "trickles",
    "turns_away",
    "will_have_it",
]

DAY_S = 86400.0


class Mouth:
    """What a writer of a stream is to whoever writes; ``taken`` may be awaited before more is."""

    def __init__(self, to: asyncio.StreamReader, taken: Callable[[], Awaitable[None]] | None = None) -> None:
        self._to, self._taken = to, taken
        self.said = bytearray()
        self.is_closed = False

    def write(self, data: bytes) -> None:
        if self.is_closed:
            raise ConnectionResetError("the other side is gone")
        self.said += data
        self._to.feed_data(data)

    async def drain(self) -> None:
        if self._taken is not None:
            await self._taken()
        await asyncio.sleep(0)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._to.feed_eof()


def ear(data: bytes | None = None) -> asyncio.StreamReader:
    """Where a stream is read; with ``data``, all that will ever come."""
    reader = asyncio.StreamReader(limit=1 << 16)
    if data is not None:
        reader.feed_data(data)
        reader.feed_eof()
    return reader


def mouth(to: asyncio.StreamReader, taken: Callable[[], Awaitable[None]] | None = None) -> asyncio.StreamWriter:
    return cast("asyncio.StreamWriter", Mouth(to, taken))


def said(writer: asyncio.StreamWriter) -> bytes:
    """All that was written there."""
    return bytes(cast("Mouth", writer).said)


Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""One conversation with whoever asks."""


class Town:
    """Whoever can be asked, by name."""

    def __init__(self, folder: Path) -> None:
        self.peers: dict[str, Peer] = {}
        self.asked: list[str] = []
        self._folder = folder

    def holder(self, name: str, *blobs: bytes, limits: Limits | None = None) -> Giver:
        """A node as it should be, that has blobs."""
        store = BlobStore(self._folder / name, durable=False)
        for blob in blobs:
            store.put(blob)
        giver = Giver(store, lambda _digest: Has.NOT)
        giver.allow(limits or Limits(), DAY_S)
        self.peers[name] = lambda reader, writer: giver.answer("whoever", reader, writer)
        return giver

    def getter(self, name: str = "me") -> Getter:
        async def others() -> list[str]:
            return sorted(set(self.peers) - {name})

        getter = Getter(name, self._folder / f"{name}-takes", others, self.ask)
        getter.allow(None)
        return getter

    @asynccontextmanager
    async def ask(self, peer: str) -> AsyncIterator[Stream]:
        """A stream to a peer."""
        self.asked.append(peer)
        here, there = ear(), ear()
        here_says, there_says = mouth(there), mouth(here)
        talk = asyncio.ensure_future(self.peers[peer](there, there_says))
        try:
            yield here, here_says
        finally:
            here_says.close()
            there_says.close()
            talk.cancel()
            with suppress(asyncio.CancelledError, ConnectionResetError):
                await talk


# -- peers that are not as they should be --------------------------------------------------------------------------


def gives(data: bytes, *, piece_bytes: int = 1 << 16, every_s: float = 0.0) -> Peer:
    """Says that it has whatever it is asked for, and sends ``data``."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = question_of(await reader.readline())
        writer.write(state_line(Has.WHOLE))
        for at in range(0, len(data) if question.wants_bytes else 0, piece_bytes):
            await asyncio.sleep(every_s)
            writer.write(data[at : at + piece_bytes])
        writer.close()

    return talk


def lies(size: int) -> Peer:
    return gives(bytes(size))


def ends_early(data: bytes) -> Peer:
    return gives(data[: len(data) // 2])


def trickles(data: bytes) -> Peer:
    return gives(data, piece_bytes=1, every_s=1.0)


async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(state_line(Has.WHOLE))
    while True:
        writer.write(bytes(1 << 16))
        await asyncio.sleep(0.01)


async def mute(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(DAY_S)


async def is_away(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def talks_nonsense(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"[" * 60_000)
    await asyncio.sleep(DAY_S)


async def turns_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Has it for whoever asks whether it does, and too many takers for whoever wants it."""
    question = question_of(await reader.readline())
    writer.write(state_line(Has.BUSY if question.wants_bytes else Has.WHOLE))


async def will_have_it(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(state_line(Has.COMING))
