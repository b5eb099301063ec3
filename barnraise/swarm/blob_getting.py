"""Getting a blob from other nodes: ask around, take it from one, compare every byte; or say why the gateway has to.

Whoever answers is a stranger: it may send something else, nothing, a little at a time or for ever. Bytes are
counted and hashed while they come, a file gets its name only after that, and a peer that lied is not asked again
for an hour. All of it ends within :func:`~barnraise.swarm.blob_choice.limit_s`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from barnraise.digest import new_hasher
from barnraise.errors import DiskFullError
from barnraise.releases.durable import disk_full_translated
from barnraise.swarm.blob_choice import (
    FromGateway,
    FromPeer,
    Has,
    Wait,
    behind_after_s,
    choose,
    limit_s,
    patience_s,
    ranked,
)
from barnraise.swarm.blob_limits import takers
from barnraise.swarm.blob_lines import BROKEN_OFF, Question, state_of
from barnraise.swarm.rate import Rate

__all__ = ["Answer", "Getter", "Stream"]

ASK_S = 3.0
ASKED_MAX = 8  # peers that are asked about one blob
PIECE_BYTES = 256 << 10
KEPT_S = 120.0  # of a blob that came, since it was last asked for
GATEWAY_HOLDS_S = 5.0  # of the answer that the gateway is to be asked: for other parts of the same blob
LIAR_S = 3600.0
UNREACHED_S = 20.0
TURNED_AWAY_S = 1.0
ALLOWED_WITHIN_S = 4.0

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a blob is that a node gave; or, without a path, why the gateway is to be asked."""

    path: Path | None
    reason: str
    at_s: float


class _TurnedAwayError(Exception):
    """The peer has too many to give to by now."""


class _LiedError(Exception):
    """The peer sent other bytes."""


@dataclass
class _Arriving:
    """How many bytes of a blob have come from a peer."""

    got_bytes: int = 0


class Getter:
    """Gets blobs, each once however often it is asked for; none before :meth:`allow`.

    Args:
        me: this node's id.
        into: a folder of its own, for what comes.
        others: ids of nodes that may have blobs.
        ask: opens a stream to a peer, and closes it.

    Attributes:
        last: what was decided last, and why.
        taken_bytes, wasted_bytes: of blobs that came whole, and of those that did not.
        from_gateway, retries, liars: how often.
    """

    def __init__(
        self,
        me: str,
        into: Path,
        others: Callable[[], Awaitable[Sequence[str]]],
        ask: Callable[[str], AbstractAsyncContextManager[Stream]],
    ) -> None:
        self.last = self._why_left = ""
        self.taken_bytes = self.wasted_bytes = self.from_gateway = self.retries = self.liars = 0
        self._me, self._into, self._others, self._ask = me, into, others, ask
        self._rate = Rate()
        self._down_bytes_per_s: float | None = None
        self._is_allowed = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[Answer]] = {}
        self._states: dict[str, tuple[Has, float]] = {}  # what is wanted, or on its way, until when
        self._shunned: dict[str, float] = {}  # peer -> until when
        into.mkdir(parents=True, exist_ok=True)
        for left in into.iterdir():
            left.unlink()

    def allow(self, down_bytes_per_s: float | None) -> None:
        """Fetch no faster from now on."""
        self._down_bytes_per_s = down_bytes_per_s
        self._rate.limit(down_bytes_per_s)
        self._is_allowed.set()

    async def get(self, digest: str, size_bytes: int) -> Answer:
        """A blob of that digest and size, in a file; or why not."""
        task = self._tasks.get(digest)
        if task is None or (task.done() and not _holds(task)):
            task = self._tasks[digest] = asyncio.create_task(self._got(digest, size_bytes))
        answer = await asyncio.shield(task)
        if answer.path is not None:
            with suppress(FileNotFoundError):
                os.utime(answer.path)  # whoever asked reads it now: it is kept for longer
        return answer

    def state(self, digest: str) -> Has:
        """What to tell others of a blob that is not in the store."""
        has, until_s = self._states.get(digest, (Has.NOT, 0.0))
        return has if _now_s() < until_s else Has.NOT

    def tidy(self) -> None:
        """Drop what is over: files that nobody asks for any more, states, peers that are forgiven."""
        now_s = _now_s()
        for path in self._into.iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > KEPT_S:
                    path.unlink()
        self._states = {digest: kept for digest, kept in self._states.items() if kept[1] > now_s}
        self._shunned = {peer: until_s for peer, until_s in self._shunned.items() if until_s > now_s}
        self._tasks = {digest: task for digest, task in self._tasks.items() if not task.done() or _holds(task)}

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    # -- one blob --------------------------------------------------------------------------------------

    async def _got(self, digest: str, size: int) -> Answer:
        self._states[digest] = (Has.WANTED, _now_s() + limit_s(size))
        try:
            async with asyncio.timeout(limit_s(size)):
                found = await self._looked(digest, size)
        except TimeoutError:
            found = f"no node gave it within {limit_s(size):.0f} s"
        except DiskFullError as error:
            found = error.reason
        self._states[digest] = (Has.COMING, _now_s() + max(KEPT_S, patience_s(size)))
        what, path = (f"the gateway was asked: {found}", None) if isinstance(found, str) else ("a node gave it", found)
        self.from_gateway += path is None
        self.last = f"Last blob, {digest[:11]}..: {what}{self._why_left}"
        self._why_left = ""
        return Answer(path, found if isinstance(found, str) else what, _now_s())

    async def _looked(self, digest: str, size: int) -> Path | str:
        """The blob's file, or why the gateway has to be asked."""
        try:
            await asyncio.wait_for(self._is_allowed.wait(), ALLOWED_WITHIN_S)
        except TimeoutError:
            return "nobody has said yet how fast blobs may come from nodes"
        if why := self._not_worth_it(size):
            return why
        began_s, failures = _now_s(), 0
        while True:
            said = await self._ask_around(digest)
            match choose(digest, size, self._me, said, _now_s() - began_s, failures):
                case FromGateway(reason):
                    return reason
                case Wait(wait_s):
                    await asyncio.sleep(wait_s)
                case FromPeer(peer):
                    asked_s = _now_s()
                    try:
                        if (path := await self._taken(peer, digest, size)) is not None:
                            return path
                        failures += 1
                        began_s += _now_s() - asked_s
                    except _TurnedAwayError:
                        await asyncio.sleep(TURNED_AWAY_S)

    def _not_worth_it(self, size: int) -> str:
        """Why not to ask at all; "" for no reason."""
        if not takers(size, self._down_bytes_per_s):
            return f"at {self._down_bytes_per_s:,.0f} bytes/s, the owner's limit, a node would give it for too long"
        if (free := shutil.disk_usage(self._into).free) < 3 * size:  # it is there twice until it is installed
            return f"{free:,} bytes of disk are free, for {size:,} that lie there twice for a while"
        return ""

    async def _ask_around(self, digest: str) -> dict[str, Has]:
        """What those say who rank first for this blob; who does not answer is left alone for a while."""
        now_s = _now_s()
        willing = [peer for peer in await self._others() if self._shunned.get(peer, 0.0) <= now_s]
        peers = ranked(digest, willing)[:ASKED_MAX]
        said = await asyncio.gather(*(self._state_of(peer, digest) for peer in peers))
        return {peer: has for peer, has in zip(peers, said, strict=True) if has is not None}

    async def _state_of(self, peer: str, digest: str) -> Has | None:
        try:
            async with asyncio.timeout(ASK_S), self._ask(peer) as (reader, writer):
                return await _asked(reader, writer, Question(digest))
        except BROKEN_OFF:
            self._shunned[peer] = _now_s() + UNREACHED_S
            return None

    async def _taken(self, peer: str, digest: str, size: int) -> Path | None:
        """A blob from a peer, verified, in a file of its own; None if it was not that.

        Raises:
            _TurnedAwayError: the peer says now that it has too many to give to.
            DiskFullError: no space left here.
        """
        path = self._into / digest[3:]
        part, arriving = path.with_suffix(".part"), _Arriving()
        try:
            await self._arrived(peer, Question(digest, wants_bytes=True), size, part, arriving)
            part.replace(path)
        except (_TurnedAwayError, DiskFullError):
            raise
        except _LiedError:
            self.liars += 1
            self._leave(peer, LIAR_S, "it sent something else")
            return None
        except BROKEN_OFF as error:
            self._leave(peer, UNREACHED_S, f"it broke off ({str(error)[:100] or type(error).__name__})")
            return None
        finally:
            if part.exists():
                part.unlink()
            if not path.exists():
                self.wasted_bytes += arriving.got_bytes
        self.taken_bytes += size
        return path

    async def _arrived(self, peer: str, question: Question, size: int, part: Path, arriving: _Arriving) -> None:
        """Have a peer's bytes in a file, and compare them while they come."""
        async with asyncio.timeout(ASK_S) as until, self._ask(peer) as (reader, writer):
            if await _asked(reader, writer, question) is not Has.WHOLE:
                raise _TurnedAwayError
            until.reschedule(None)  # from here on every piece has a time of its own
            hasher = new_hasher()
            with disk_full_translated(part.parent), part.open("wb") as file:
                began_s = _now_s()
                while (left := size - arriving.got_bytes) > 0:
                    async with asyncio.timeout_at(began_s + behind_after_s(arriving.got_bytes)):
                        piece = await reader.read(min(left, PIECE_BYTES))
                    if not piece:
                        raise ConnectionError(f"after {arriving.got_bytes:,} of {size:,} bytes")
                    arriving.got_bytes += len(piece)
                    hasher.update(piece)
                    file.write(piece)
                    pause_s = self._rate.pause_s(len(piece), _now_s())
                    await asyncio.sleep(pause_s)
                    began_s += pause_s  # the owner's limit, not the peer's fault
        if f"b3:{hasher.hexdigest()}" != question.digest:
            raise _LiedError

    def _leave(self, peer: str, for_s: float, why: str) -> None:
        self.retries += 1
        self._shunned[peer] = _now_s() + for_s
        self._why_left = f", after node ..{peer[-8:]}: {why}"


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: Question) -> Has:
    writer.write(question.line())
    await writer.drain()
    return state_of(await reader.readline())


def _holds(task: asyncio.Task[Answer]) -> bool:
    """Whether what a search found is still so."""
    if task.cancelled() or task.exception() is not None:
        return False
    answer = task.result()
    return _now_s() < answer.at_s + GATEWAY_HOLDS_S if answer.path is None else answer.path.exists()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
