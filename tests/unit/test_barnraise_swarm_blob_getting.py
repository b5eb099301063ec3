"""Getting a blob from nodes: the right bytes or none, whatever they do, and an end to it in time."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from barnraise.digest import digest_bytes
from barnraise.swarm import blob_getting
from barnraise.swarm.blob_choice import FAILURES_MAX, Has, behind_after_s, limit_s, patience_s, ranked
from barnraise.swarm.blob_getting import ALLOWED_WITHIN_S, GATEWAY_HOLDS_S, KEPT_S, Answer, Getter
from blob_town import (
    Peer,
    Town,
    ends_early,
    gives,
    is_away,
    lies,
    mute,
    never_ends,
    talks_nonsense,
    trickles,
    turns_away,
    will_have_it,
)
from leaping import leaping

BLOB = bytes(range(256)) * 4_000
DIGEST, SIZE = digest_bytes(BLOB), len(BLOB)

LIARS: dict[str, Peer] = {
    "other bytes": lies(SIZE),
    "too few": ends_early(BLOB),
    "a byte a second": trickles(BLOB),
    "without end": never_ends,
    "nothing": mute,
    "no connection": is_away,
    "nonsense": talks_nonsense,
    "never now": turns_away,
    "always soon": will_have_it,
}


def _now_s() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


def _got(town: Town) -> tuple[Answer, Getter, float]:
    """What one node's search comes to, and how long it took."""

    async def story() -> tuple[Answer, Getter, float]:
        getter = town.getter()
        return await getter.get(DIGEST, SIZE), getter, _now_s()

    return leaping(story())


def test_a_node_that_has_it_gives_it(town: Town) -> None:
    async def story() -> None:
        giver = town.holder("a", BLOB)
        getter = town.getter()
        answer = await getter.get(DIGEST, SIZE)
        assert answer.path is not None
        assert answer.path.read_bytes() == BLOB
        assert (getter.taken_bytes, getter.wasted_bytes, getter.from_gateway) == (SIZE, 0, 0)
        assert giver.given_bytes == SIZE
        assert getter.state(DIGEST) is Has.COMING  # until it is in the store

    leaping(story())


def test_who_is_alone_is_told_so_at_once(town: Town) -> None:
    answer, getter, took_s = _got(town)
    assert answer.path is None
    assert answer.reason == "no other node is there"
    assert (took_s, getter.from_gateway) == (0.0, 1)


@pytest.mark.parametrize("what", LIARS)
def test_one_that_does_not_give_it_costs_a_while_and_no_byte(town: Town, tmp_path: Path, what: str) -> None:
    async def story() -> None:
        town.peers["liar"] = LIARS[what]
        getter = town.getter()
        answer = await getter.get(DIGEST, SIZE)
        assert answer.path is None
        assert _now_s() <= limit_s(SIZE)
        assert not list((tmp_path / "me-takes").iterdir())
        assert getter.taken_bytes == 0
        assert getter.liars == (what in {"other bytes", "without end"})

    leaping(story())


@pytest.mark.parametrize("what", LIARS)
def test_the_next_one_is_asked_and_gives_it(town: Town, what: str) -> None:
    async def story() -> None:
        liar = next(f"liar {n}" for n in range(99) if ranked(DIGEST, [f"liar {n}", "honest"], "me")[0] != "honest")
        town.peers[liar] = LIARS[what]
        town.holder("honest", BLOB)
        getter = town.getter()
        answer = await getter.get(DIGEST, SIZE)
        if what == "never now":  # it takes all the patience there is
            assert answer.path is None
            assert _now_s() <= patience_s(SIZE) + 2.0
            return
        assert answer.path is not None
        assert answer.path.read_bytes() == BLOB
        assert getter.taken_bytes == SIZE
        assert _now_s() <= behind_after_s(SIZE) + 1.0

    leaping(story())


def test_after_three_that_fail_the_gateway_is_asked(town: Town) -> None:
    town.peers.update({f"liar {number}": lies(SIZE) for number in range(20)})
    answer, getter, _ = _got(town)
    assert answer.path is None
    assert answer.reason == f"{FAILURES_MAX} nodes that said they have it did not give it"
    assert (getter.liars, getter.retries, getter.wasted_bytes) == (FAILURES_MAX, FAILURES_MAX, FAILURES_MAX * SIZE)


def test_a_liar_is_left_alone_from_then_on(town: Town) -> None:
    async def story() -> None:
        town.peers["liar"] = lies(SIZE)
        getter = town.getter()
        await getter.get(DIGEST, SIZE)
        town.asked.clear()
        await getter.get(digest_bytes(b"another"), 7)
        assert town.asked == []

    leaping(story())


def test_one_that_trickles_is_left_when_it_falls_behind(town: Town) -> None:
    town.peers["liar"] = trickles(BLOB)
    _, getter, took_s = _got(town)
    assert getter.retries == 1
    assert took_s <= behind_after_s(10) + 1.0


def test_one_that_says_soon_for_ever_costs_the_patience_for_this_blob(town: Town) -> None:
    town.peers["liar"] = will_have_it
    answer, _, took_s = _got(town)
    assert answer.reason.startswith("no node had it to give within")
    assert took_s == pytest.approx(patience_s(SIZE), abs=1.0)


def test_parts_of_a_blob_that_are_wanted_together_are_fetched_once(town: Town) -> None:
    async def story() -> None:
        giver = town.holder("a", BLOB)
        getter = town.getter()
        answers = await asyncio.gather(*(getter.get(DIGEST, SIZE) for _ in range(4)))
        answers.append(await getter.get(DIGEST, SIZE))
        assert len({answer.path for answer in answers}) == 1
        assert giver.given_bytes == getter.taken_bytes == SIZE

    leaping(story())


def test_that_the_gateway_is_to_be_asked_holds_for_a_moment_only(town: Town) -> None:
    async def story() -> None:
        getter = town.getter()
        assert (await getter.get(DIGEST, SIZE)).path is None
        town.holder("a", BLOB)
        assert (await getter.get(DIGEST, SIZE)).path is None
        assert town.asked == []
        await asyncio.sleep(GATEWAY_HOLDS_S)
        assert (await getter.get(DIGEST, SIZE)).path is not None

    leaping(story())


def test_a_file_that_is_gone_is_fetched_again(town: Town) -> None:
    async def story() -> None:
        town.holder("a", BLOB)
        getter = town.getter()
        for _ in range(2):
            answer = await getter.get(DIGEST, SIZE)
            assert answer.path is not None
            assert answer.path.read_bytes() == BLOB
            answer.path.unlink()

    leaping(story())


def test_a_search_that_fails_is_not_kept(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        town.holder("a", BLOB)
        getter = town.getter()

        async def broken() -> list[str]:
            raise BrokenPipeError

        there = getter._others
        monkeypatch.setattr(getter, "_others", broken)
        with pytest.raises(BrokenPipeError):
            await getter.get(DIGEST, SIZE)
        monkeypatch.setattr(getter, "_others", there)
        assert (await getter.get(DIGEST, SIZE)).path is not None

    leaping(story())


def test_it_comes_no_faster_than_the_owner_lets_it_and_the_peer_is_not_blamed(town: Town) -> None:
    async def story() -> None:
        town.holder("a", BLOB)
        getter = town.getter()
        getter.allow(SIZE / 5.0)
        assert (await getter.get(DIGEST, SIZE)).path is not None
        assert _now_s() >= 4.0  # five seconds' worth, the first of which may come at once
        assert getter.retries == 0

    leaping(story())


def test_a_limit_that_is_set_in_the_middle_is_not_the_peers_fault_and_ends_all_the_same(town: Town) -> None:
    async def story() -> None:
        town.peers["a"] = gives(BLOB, every_s=0.1)
        getter = town.getter()
        search = asyncio.ensure_future(getter.get(DIGEST, SIZE))
        await asyncio.sleep(0.5)
        getter.allow(SIZE / 100)
        answer = await search
        assert answer.path is None
        assert answer.reason == f"no node gave it within {limit_s(SIZE):.0f} s"
        assert _now_s() == pytest.approx(limit_s(SIZE))
        assert getter.retries == 0

    leaping(story())


def test_what_failed_transfers_take_is_not_the_patience_with_others(town: Town) -> None:
    async def story() -> None:
        names = [f"liar {number}" for number in range(99)]
        first = [name for name in names if ranked(DIGEST, [name, "honest"], "me")[0] == name][: FAILURES_MAX - 1]
        town.peers.update(dict.fromkeys(first, trickles(BLOB)))
        town.holder("honest", BLOB)
        getter = town.getter()
        assert (await getter.get(DIGEST, SIZE)).path is not None
        assert getter.retries == FAILURES_MAX - 1
        assert _now_s() > patience_s(SIZE)

    leaping(story())


def test_nothing_comes_before_the_owner_has_said_how_fast(town: Town, tmp_path: Path) -> None:
    async def story() -> None:
        town.holder("a", BLOB)

        async def others() -> list[str]:
            return ["a"]

        getter = Getter("me", tmp_path / "takes", others, town.ask)
        assert (await getter.get(DIGEST, SIZE)).path is None
        assert _now_s() == ALLOWED_WITHIN_S
        await asyncio.sleep(GATEWAY_HOLDS_S)
        search = asyncio.ensure_future(getter.get(DIGEST, SIZE))
        await asyncio.sleep(1.0)
        assert town.asked == []
        getter.allow(None)
        assert (await search).path is not None

    leaping(story())


def test_an_owner_who_lets_too_little_through_holds_no_node_up(town: Town) -> None:
    async def story() -> None:
        town.holder("a", BLOB)
        getter = town.getter()
        getter.allow(1000.0)
        answer = await getter.get(DIGEST, SIZE)
        assert answer.path is None
        assert answer.reason.startswith("at 1,000 bytes/s, the owner's limit")
        assert town.asked == []

    leaping(story())


def test_a_disk_that_gets_full_is_nobodys_fault(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_getting.shutil, "disk_usage", lambda _path: SimpleNamespace(free=2 * SIZE))
    town.peers["liar"] = LIARS["other bytes"]
    answer, _, _ = _got(town)
    assert answer.path is None
    assert "of disk are free" in answer.reason
    assert town.asked == []


def test_a_full_disk_is_nobodys_fault(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    town.peers["liar"] = LIARS["other bytes"]
    answer, getter, _ = _got(town)
    assert answer.path is None
    assert "no space left" in answer.reason
    assert (getter.retries, getter.liars) == (0, 0)


def test_what_nobody_asks_for_any_more_goes(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        town.holder("a", BLOB)
        getter = town.getter()
        answer = await getter.get(DIGEST, SIZE)
        assert answer.path is not None
        os.utime(answer.path, (0, 0))
        await getter.get(DIGEST, SIZE)
        wall_s = answer.path.stat().st_mtime
        assert wall_s > 0  # it is kept for longer by being asked for
        clock: Callable[[], float] = lambda: wall_s + KEPT_S - 1.0  # noqa: E731
        monkeypatch.setattr(blob_getting.time, "time", lambda: clock())
        getter.tidy()
        assert answer.path.exists()
        clock = lambda: wall_s + KEPT_S + 1.0  # noqa: E731
        getter.tidy()
        assert not answer.path.exists()
        await asyncio.sleep(KEPT_S)
        assert getter.state(DIGEST) is Has.NOT

    leaping(story())


def test_what_was_left_by_a_sidecar_that_was_killed_goes(town: Town) -> None:
    async def story() -> None:
        folder = town.getter()._into
        (folder / "ab.part").write_bytes(b"half")
        town.getter()
        assert not list(folder.iterdir())

    leaping(story())


def test_stopping_ends_a_search(town: Town) -> None:
    async def story() -> None:
        town.peers["mute"] = mute
        getter = town.getter()
        search = asyncio.ensure_future(getter.get(DIGEST, SIZE))
        await asyncio.sleep(0.5)
        await getter.stop()
        with pytest.raises(asyncio.CancelledError):
            await search
        assert _now_s() < 1.0

    leaping(story())


def test_eight_that_want_it_at_once_ask_the_gateway_once_or_twice(town: Town) -> None:
    async def story() -> None:
        names = [f"node {number}" for number in range(8)]
        getters = {}
        for name in names:
            giver = town.holder(name)
            getters[name] = getter = town.getter(name)
            giver._coming = getter.state

        async def gets(name: str) -> bool:
            answer = await getters[name].get(DIGEST, SIZE)
            if answer.path is None:
                await asyncio.sleep(1.0)  # the gateway
            town_store = Path(town._folder / name / "blobs" / DIGEST[3:5])
            town_store.mkdir(parents=True, exist_ok=True)
            if answer.path is None:
                (town_store / DIGEST[5:]).write_bytes(BLOB)
            else:
                shutil.copyfile(answer.path, town_store / DIGEST[5:])
            return answer.path is None

        asked = await asyncio.gather(*(gets(name) for name in names))
        assert 1 <= sum(asked) <= 2

    leaping(story())
