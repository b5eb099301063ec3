"""Giving blobs to other nodes: one stream, one question of a stranger's, and perhaps a blob.

Whoever asks may ask anything, read slowly or not at all, and come in numbers: a question is short or not read,
so many streams are open at a time, one peer takes two blobs at a time, and who takes longer than an honest node
would is dropped. Only what is in the store is given, and only after its digest was compared, for the disk may
have torn it and whoever sends torn bytes is taken for a liar.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from barnraise.digest import digest_file
from barnraise.errors import BlobMissingError
from barnraise.releases.store import BlobStore
from barnraise.swarm.blob_choice import PATIENCE_S, Has, behind_after_s
from barnraise.swarm.blob_limits import NOTHING, Limits, gives
from barnraise.swarm.blob_lines import BROKEN_OFF, question_of, state_line
from barnraise.swarm.rate import Rate

__all__ = ["Giver"]

STREAMS_MAX = 64
A_PEER_MAX = 2
ASKED_WITHIN_S = 3.0
PIECE_BYTES = 256 << 10
PIECE_MIN_BYTES = 4 << 10
PIECE_S = 20.0  # for a piece to be taken


class Giver:
    """Answers the questions of other nodes. Gives nothing before :meth:`allow`, and when that is out of date.

    Args:
        coming: what to say of a blob that is not in the store.

    Attributes:
        given_bytes: so far.
    """

    def __init__(self, store: BlobStore, coming: Callable[[str], Has]) -> None:
        self.given_bytes = 0
        self._store, self._coming = store, coming
        self._rate = Rate()
        self._limits, self._until_s = NOTHING, 0.0
        self._streams = 0
        self._taking: list[str] = []
        self._verified: set[str] = set()

    def allow(self, limits: Limits, for_s: float) -> None:
        """Keep to these from now on, and give nothing once they are older than ``for_s``."""
        self._limits, self._until_s = limits, _now_s() + for_s
        self._rate.limit(limits.up_bytes_per_s)

    async def answer(self, peer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question of a stranger's; the stream ends with this, whatever happens."""
        self._streams += 1
        try:
            if self._streams <= STREAMS_MAX:
                async with asyncio.timeout(ASKED_WITHIN_S):
                    question = question_of(await reader.readuntil(b"\n"))
                await self._say(peer, question.digest, question.wants_bytes, writer)
        except BROKEN_OFF:
            return
        finally:
            self._streams -= 1
            with suppress(OSError):
                writer.close()

    def state(self, digest: str) -> Has:
        """What we say about a blob."""
        try:
            return gives(self._store.size(digest), len(self._taking), self._now_allowed)
        except BlobMissingError:
            return self._coming(digest)

    @property
    def _now_allowed(self) -> Limits:
        return self._limits if _now_s() < self._until_s else NOTHING

    async def _say(self, peer: str, digest: str, wants_bytes: bool, writer: asyncio.StreamWriter) -> None:
        has = self.state(digest)
        if has is Has.WHOLE and self._taking.count(peer) >= A_PEER_MAX:
            has = Has.BUSY
        if not wants_bytes or has is not Has.WHOLE:
            await _sent(writer, state_line(has))
            return
        with self._taken_by(peer):
            if not await self._is_sound(digest):
                await _sent(writer, state_line(Has.NOT))
                return
            with self._store.path(digest).open("rb") as file:  # open, it stays whole when the cache is trimmed
                size = os.fstat(file.fileno()).st_size
                async with asyncio.timeout(PATIENCE_S + behind_after_s(size)):
                    await self._give(file, writer)

    @contextmanager
    def _taken_by(self, peer: str) -> Iterator[None]:
        self._taking.append(peer)
        try:
            yield
        finally:
            self._taking.remove(peer)

    async def _is_sound(self, digest: str) -> bool:
        """Whether the stored bytes are the blob's; compared once."""
        if digest not in self._verified:
            if await asyncio.to_thread(digest_file, self._store.path(digest)) != digest:
                return False
            self._verified.add(digest)
        return True

    async def _give(self, file: IO[bytes], writer: asyncio.StreamWriter) -> None:
        await _sent(writer, state_line(Has.WHOLE))
        while piece := file.read(self._piece_bytes):
            await asyncio.sleep(self._rate.pause_s(len(piece), _now_s()))
            if self._now_allowed.paused:
                return
            await _sent(writer, piece)
            self.given_bytes += len(piece)

    @property
    def _piece_bytes(self) -> int:
        """Small enough for a new limit to hold soon."""
        rate = self._limits.up_bytes_per_s
        return PIECE_BYTES if rate is None else int(min(PIECE_BYTES, max(PIECE_MIN_BYTES, rate / 8)))


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _sent(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    async with asyncio.timeout(PIECE_S):
        await writer.drain()
