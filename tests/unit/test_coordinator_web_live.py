"""The stream that tells pages that the ledger moved: what it says, how much, and when it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from barnraise.errors import StorageError
from coordinator.ledger import Ledger
from coordinator.ledger.events import ContributorSeen, RunCreated
from coordinator.web.live import BEHIND_MOST, HEARTBEAT_S, STREAMS_MAX, Tail, last_seen
from doorstep import doorstep
from fresh_ledger import fresh_ledger

KEY = "a" * 64


class Clock:
    """Time that passes only while a stream sleeps; what happens meanwhile is done then."""

    def __init__(self, *happenings: Callable[[], object]) -> None:
        self.slept_s = 0.0
        self._waiting = list(happenings)

    async def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        if self._waiting:
            self._waiting.pop(0)()


def tail_of(ledger: Ledger, clock: Clock, stops_after_s: float = 1e9) -> Tail:
    return Tail(ledger, lambda: clock.slept_s >= stops_after_s, clock.sleep, lambda: clock.slept_s)


def said(stream: AsyncIterator[bytes]) -> list[bytes]:
    async def all_of_it() -> list[bytes]:
        return [piece async for piece in stream]

    return asyncio.run(all_of_it())


def ids(pieces: list[bytes]) -> list[int]:
    return [int(line[4:]) for piece in pieces for line in piece.decode().split("\n") if line.startswith("id: ")]


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    opened = fresh_ledger(tmp_path / "ledger.sqlite")
    opened.record(RunCreated("toy", "b3:" + "0" * 64, {}, KEY, ""), at_ms=1)
    yield opened
    opened.close()


def seen(ledger: Ledger, name: str) -> Callable[[], object]:
    return lambda: ledger.record(ContributorSeen(KEY, name), at_ms=2)


def test_what_happens_while_a_page_is_open_is_told_once_and_in_words(ledger: Ledger) -> None:
    clock = Clock(seen(ledger, "ada"), seen(ledger, "grace"))
    pieces = said(tail_of(ledger, clock, 5).stream(None))
    assert pieces[0].startswith(b"retry: ")
    assert ids(pieces) == [2, 3]
    data = json.loads(pieces[1].decode().split("data: ")[1])
    assert data == {"at_ms": 2, "kind": "contributor-seen", "words": "ada (aaaaaaaaaa) is here"}


def test_who_comes_back_is_told_what_it_missed(ledger: Ledger) -> None:
    for name in ("ada", "grace", "hedy"):
        seen(ledger, name)()
    assert ids(said(tail_of(ledger, Clock(), 3).stream(2))) == [3, 4]
    assert ids(said(tail_of(ledger, Clock(), 3).stream(4))) == []
    assert ids(said(tail_of(ledger, Clock(), 3).stream(0))) == [1, 2, 3, 4]


def test_who_was_away_for_long_is_told_the_newest_part_only(ledger: Ledger) -> None:
    ledger.record(*(ContributorSeen(KEY, f"name {n}") for n in range(BEHIND_MOST + 50)), at_ms=2)
    told = ids(said(tail_of(ledger, Clock(), 3).stream(1)))
    assert told == list(range(ledger.last_seq() - BEHIND_MOST + 1, ledger.last_seq() + 1))


def test_a_number_from_the_future_is_taken_for_the_end(ledger: Ledger) -> None:
    clock = Clock(seen(ledger, "ada"))
    assert ids(said(tail_of(ledger, clock, 4).stream(10**14))) == [2]


def test_silence_is_broken_now_and_then(ledger: Ledger) -> None:
    pieces = said(tail_of(ledger, Clock(), 3 * HEARTBEAT_S).stream(None))
    assert pieces.count(b": still here\n\n") == 2


def test_a_ledger_that_is_away_for_a_moment_ends_no_stream(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ledger.last_seq

    def away() -> int:
        raise StorageError("the ledger cannot be used: database is locked")

    clock = Clock(
        lambda: monkeypatch.setattr(ledger, "last_seq", away),
        seen(ledger, "ada"),
        lambda: monkeypatch.setattr(ledger, "last_seq", asked),
    )
    assert ids(said(tail_of(ledger, clock, 8).stream(None))) == [2]


def test_names_in_words_break_no_message(ledger: Ledger) -> None:
    clock = Clock(seen(ledger, "a\n\nid: 99\ndata: x\u202e\x00" + "m" * 5000))
    pieces = said(tail_of(ledger, clock, 3).stream(None))
    assert ids(pieces) == [2]
    assert all(len(piece) < 3000 for piece in pieces)


def test_streams_are_counted_and_there_are_only_so_many(ledger: Ledger) -> None:
    async def opened() -> None:
        tail = Tail(ledger, clock_s=lambda: 0.0)
        streams = [tail.stream(None) for _ in range(STREAMS_MAX)]
        for stream in streams:
            await anext(stream)
        assert tail.is_full
        await streams[0].aclose()  # type: ignore[attr-defined]
        assert not tail.is_full
        for stream in streams[1:]:
            await stream.aclose()  # type: ignore[attr-defined]
        assert tail.streams == 0

    asyncio.run(opened())


def test_many_streams_ask_the_ledger_once_a_second(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    streams, seconds = 20, 3
    asked, questions, told = ledger.last_seq, [0], [0]
    seen(ledger, "ada")()

    def counted() -> int:
        questions[0] += 1
        return asked()

    monkeypatch.setattr(ledger, "last_seq", counted)

    async def watched() -> None:
        now_s, all_sleep = [0.0], asyncio.Barrier(streams)

        async def sleep(seconds: float) -> None:
            if await all_sleep.wait() == 0:
                now_s[0] += seconds
            await all_sleep.wait()

        tail = Tail(ledger, lambda: now_s[0] >= seconds, sleep, lambda: now_s[0])

        async def followed() -> None:
            async for piece in tail.stream(None):
                told[0] += piece.startswith(b"id")

        await asyncio.gather(*(followed() for _ in range(streams)))

    asyncio.run(watched())
    assert questions[0] == seconds
    assert told[0] == 0  # nobody is told of what was before


def test_a_gateway_that_is_full_says_when_to_come_back(tmp_path: Path) -> None:
    with doorstep(tmp_path / "run") as door:
        door.app.state.site.tail.streams = STREAMS_MAX
        answer = door.call("GET", "/live")
        assert (answer.status, answer.headers["retry-after"]) == (503, "30")


def test_only_a_number_is_a_place_in_the_ledger() -> None:
    assert last_seen("812") == 812
    assert [last_seen(text) for text in (None, "", "-1", "x", "1" * 16, "\u00b2")] == [None] * 6
