"""Giving blobs to strangers: only what is there and allowed, no faster than that, and to nobody for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from barnraise.digest import digest_bytes
from barnraise.releases.store import BlobStore
from barnraise.swarm.blob_choice import PATIENCE_S, Has, behind_after_s
from barnraise.swarm.blob_giving import PIECE_S, STREAMS_MAX, Giver
from barnraise.swarm.blob_limits import GIVING_MAX, Limits
from barnraise.swarm.blob_lines import Question, state_line
from blob_town import DAY_S, ear, mouth, said
from leaping import leaping

BLOB = bytes(range(256)) * 4_000
DIGEST, SIZE = digest_bytes(BLOB), len(BLOB)
ALL = state_line(Has.WHOLE) + BLOB


class Here:
    """A node that has one blob, and strangers who ask it."""

    def __init__(self, folder: Path) -> None:
        self.store = BlobStore(folder, durable=False)
        self.store.put(BLOB)
        self.coming = Has.NOT
        self.giver = Giver(self.store, lambda _digest: self.coming)

    async def asked(
        self, line: bytes, peer: str = "a stranger", taken: Callable[[], Awaitable[None]] | None = None
    ) -> bytes:
        """All that is answered to a line."""
        writer = mouth(ear(), taken)
        await self.giver.answer(peer, ear(line), writer)
        return said(writer)

    async def asked_for_it(self, peer: str = "a stranger", taken: Callable[[], Awaitable[None]] | None = None) -> bytes:
        return await self.asked(Question(DIGEST, wants_bytes=True).line(), peer, taken)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def test_what_is_there_and_allowed_is_given(here: Here) -> None:
    async def story() -> None:
        here.giver.allow(Limits(), DAY_S)
        assert await here.asked(Question(DIGEST).line()) == state_line(Has.WHOLE)
        assert await here.asked_for_it() == ALL
        assert here.giver.given_bytes == SIZE

    leaping(story())


def test_nothing_is_given_before_the_owner_says_so_nor_when_that_is_long_ago(here: Here) -> None:
    async def story() -> None:
        assert await here.asked_for_it() == state_line(Has.NOT)
        here.giver.allow(Limits(), 30.0)
        assert await here.asked_for_it() == ALL
        await asyncio.sleep(30.0)
        assert await here.asked_for_it() == state_line(Has.NOT)
        assert here.giver.given_bytes == SIZE

    leaping(story())


def test_a_paused_node_gives_nothing_and_stops_giving(here: Here) -> None:
    async def story() -> None:
        here.giver.allow(Limits(up_bytes_per_s=SIZE / 4), DAY_S)
        taking = asyncio.ensure_future(here.asked_for_it())
        await asyncio.sleep(1.0)
        here.giver.allow(Limits(paused=True), DAY_S)
        assert len(await taking) < len(ALL)
        given = here.giver.given_bytes
        assert 0 < given < SIZE
        assert await here.asked_for_it() == state_line(Has.NOT)
        assert here.giver.given_bytes == given

    leaping(story())


@pytest.mark.parametrize("at_a_time", [1, 3])
def test_no_more_goes_up_than_the_owner_allows_however_many_take_it(here: Here, at_a_time: int) -> None:
    async def story() -> None:
        rate = SIZE / 2
        here.giver.allow(Limits(up_bytes_per_s=rate), DAY_S)
        got = await asyncio.gather(*(here.asked_for_it(f"peer {number}") for number in range(at_a_time)))
        assert got == [ALL] * at_a_time
        assert here.giver.given_bytes <= rate * (_now_s() + 1.0)  # a second's worth may go at once

    leaping(story())


def test_a_limit_that_is_set_in_the_middle_holds_soon(here: Here) -> None:
    async def story() -> None:
        here.giver.allow(Limits(up_bytes_per_s=SIZE / 2), DAY_S)
        taking = asyncio.ensure_future(here.asked_for_it())
        await asyncio.sleep(0.5)
        here.giver.allow(Limits(up_bytes_per_s=SIZE / 5), DAY_S)
        before = here.giver.given_bytes
        await asyncio.sleep(1.0)
        assert here.giver.given_bytes - before <= SIZE / 5 + 2 * SIZE / 16
        assert await taking == ALL

    leaping(story())


def test_only_so_many_take_at_a_time_and_one_peer_two(here: Here) -> None:
    async def story() -> None:
        here.giver.allow(Limits(), DAY_S)

        async def slowly() -> None:
            await asyncio.sleep(0.5)

        names = ["peer 0", "peer 0", *(f"peer {number}" for number in range(1, GIVING_MAX - 2))]
        taking = [asyncio.ensure_future(here.asked_for_it(name, slowly)) for name in names]
        await asyncio.sleep(0.1)
        assert await here.asked_for_it("peer 0") == state_line(Has.BUSY)
        taking.append(asyncio.ensure_future(here.asked_for_it("another", slowly)))
        await asyncio.sleep(0.1)
        assert await here.asked_for_it("one more") == state_line(Has.BUSY)
        assert await asyncio.gather(*taking) == [ALL] * GIVING_MAX
        assert await here.asked_for_it("one more") == ALL

    leaping(story())


def test_one_that_does_not_take_what_it_asked_for_is_dropped(here: Here) -> None:
    async def never() -> None:
        await asyncio.sleep(DAY_S)

    async def a_little() -> None:
        await asyncio.sleep(3.0)

    async def story() -> None:
        here.giver.allow(Limits(), 10 * DAY_S)
        for taken in (never, a_little):
            began_s = _now_s()
            assert await here.asked_for_it(taken=taken) != ALL
            assert _now_s() - began_s <= PATIENCE_S + behind_after_s(SIZE) + 0.1
        began_s = _now_s()
        await here.asked(Question(DIGEST).line(), taken=never)
        assert _now_s() - began_s <= PIECE_S + 0.1
        assert await here.asked_for_it() == ALL

    leaping(story())


def test_only_so_many_are_listened_to(here: Here) -> None:
    async def story() -> None:
        here.giver.allow(Limits(), DAY_S)
        silent = [asyncio.ensure_future(here.giver.answer(f"{n}", ear(), mouth(ear()))) for n in range(STREAMS_MAX)]
        await asyncio.sleep(0.1)
        assert await here.asked(Question(DIGEST).line()) == b""
        await asyncio.gather(*silent)
        assert _now_s() <= 3.1
        assert await here.asked(Question(DIGEST).line()) == state_line(Has.WHOLE)

    leaping(story())


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"GET / HTTP/1.1\r\n\r\n", b"[" * 70_000, b'{"ask": "blob"}\n', b"null\n"]
)
def test_what_is_no_question_gets_no_answer(here: Here, line: bytes) -> None:
    async def story() -> None:
        here.giver.allow(Limits(), DAY_S)
        assert await here.asked(line) == b""

    leaping(story())


def test_of_what_is_not_in_the_store_it_says_whether_it_comes(here: Here) -> None:
    async def story() -> None:
        here.giver.allow(Limits(), DAY_S)
        other = Question(digest_bytes(b"other"), wants_bytes=True).line()
        for here.coming in (Has.NOT, Has.WANTED, Has.COMING):
            assert await here.asked(other) == state_line(here.coming)

    leaping(story())


def test_bytes_that_the_disk_has_torn_are_not_given(here: Here) -> None:
    async def story() -> None:
        here.giver.allow(Limits(), DAY_S)
        here.store.path(DIGEST).write_bytes(BLOB[:-1] + b"!")
        assert await here.asked_for_it() == state_line(Has.NOT)

    leaping(story())


def test_a_cache_that_is_trimmed_meanwhile_spoils_nothing(here: Here) -> None:
    async def story() -> None:
        here.giver.allow(Limits(up_bytes_per_s=SIZE / 2), DAY_S)
        taking = asyncio.ensure_future(here.asked_for_it())
        await asyncio.sleep(0.5)
        here.store.delete(DIGEST)
        assert await taking == ALL
        assert await here.asked_for_it() == state_line(Has.NOT)

    leaping(story())
