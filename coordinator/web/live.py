"""Server-sent events: a browser is told that the ledger moved, and fetches its page again.

However many streams are open, the ledger is asked at most once in ``POLL_S`` where it ends. A stream that
comes back says what it has seen (``Last-Event-ID``) and is told the rest, the newest ``BEHIND_MOST`` of it.

    id: 812
    data: {"at_ms": .., "kind": "release-tagged", "words": "TAGGED 0.1.4 ..."}

    : still here                                   every ``HEARTBEAT_S`` in which nothing happened

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from barnraise.errors import StorageError
from barnraise.narrate import narrate
from coordinator.ledger import Ledger
from coordinator.ledger.events import RecordedEvent
from coordinator.web.digits import whole_number
from coordinator.web.names import fit

__all__ = ["STREAMS_MAX", "Tail", "last_seen"]

POLL_S, HEARTBEAT_S, RETRY_MS = 1.0, 15.0, 3000
STREAMS_MAX, BEHIND_MOST, WORDS_MAX = 64, 200, 300


def _never() -> bool:
    return False


@dataclass
class Tail:
    """The end of a ledger, for many streams in one event loop.

    Attributes:
        stopping: whether the process is about to end; streams end then too.
        sleep: waits so many seconds. clock_s: goes on meanwhile.
    """

    ledger: Ledger
    stopping: Callable[[], bool] = _never
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock_s: Callable[[], float] = time.monotonic
    streams: int = 0
    _last_seq: int = 0
    _asked_at_s: float = field(default=float("-inf"))
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_full(self) -> bool:
        return self.streams >= STREAMS_MAX

    async def stream(self, seen: int | None) -> AsyncIterator[bytes]:
        """What is sent to one browser, from the event after ``seen`` on; from now on where it saw nothing."""
        self.streams += 1
        try:
            yield f"retry: {RETRY_MS}\n\n".encode("ascii")
            end = await self._end()
            last = end if seen is None else min(seen, end)
            silent_s = 0.0
            while not self.stopping():
                news = await self._after(last)
                if news:
                    last, silent_s = news[-1].seq, 0.0
                    yield b"".join(map(_message, news))
                elif silent_s >= HEARTBEAT_S:
                    silent_s = 0.0
                    yield b": still here\n\n"
                await self.sleep(POLL_S)
                silent_s += POLL_S
        finally:
            self.streams -= 1

    async def _after(self, seen: int) -> list[RecordedEvent]:
        end = await self._end()
        if end <= seen:
            return []
        try:
            return await run_in_threadpool(self.ledger.events_after, max(seen, end - BEHIND_MOST), end - seen)
        except StorageError:
            return []  # it is away for a moment; the stream stays and asks again

    async def _end(self) -> int:
        """The last sequence number, read anew once in ``POLL_S``."""
        async with self._asking:  # who comes meanwhile waits for the same answer
            if self.clock_s() - self._asked_at_s >= 0.9 * POLL_S:
                with suppress(StorageError):
                    self._last_seq = await run_in_threadpool(self.ledger.last_seq)
                self._asked_at_s = self.clock_s()
            return self._last_seq


def last_seen(header: str | None) -> int | None:
    """The sequence number in a Last-Event-ID; None where there is none that could be one."""
    return whole_number(header or "")


def _message(recorded: RecordedEvent) -> bytes:
    words = fit(narrate(recorded.event.kind, recorded.as_json()["payload"], {}), WORDS_MAX)
    data = json.dumps({"at_ms": recorded.at_ms, "kind": recorded.event.kind, "words": words})
    return f"id: {recorded.seq}\ndata: {data}\n\n".encode("ascii")
