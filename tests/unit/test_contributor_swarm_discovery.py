"""A moved coordinator: which beacon counts, where the node goes, and what its owner is told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import SwarmError, UnreachableError
from barnraise.identity import Identity
from barnraise.protocol import RunInfo, SwarmInfo
from barnraise.swarm.process import Sidecar, SidecarState
from barnraise.swarm.records import BEACON_FOR_MS, PROGRESS_FOR_MS, Beacon, open_progress, pack
from contributor.client import GatewayClient
from contributor.events import Leased, Moved, NodeEvent, Notice, Step
from contributor.folder import NodeFolder
from contributor.status import NodeStatus
from contributor.swarm.announcing import AGAIN_MS, AT_MOST_MS, Announcer, is_due
from contributor.swarm.choice import SwarmChoice
from contributor.swarm.discovery import LOOK_AFTER_S, Discovery
from contributor.swarm.finding import Heard, Tried, choose, is_another, newest_beacon, to_try
from contributor.swarm.memory import SwarmMemory
from contributor.swarm.node import SwarmNode
from contributor.swarm.status import SwarmTally
from contributor.whereabouts import Whereabouts
from pretend_gateway import PretendGateway

NOW = 1_800_000_000_000
OLD, NEW, EVIL = "http://old:1", "http://new:2", "http://evil:3"
PEER = "12D3KooWBMDUpm2nBySSGjsBYSBiPsThcoDRwpCGpouFEdTgYoeV"
ADDRESS = f"/ip4/203.0.113.5/tcp/4001/p2p/{PEER}"
GATEWAY = PretendGateway()
INFO = GATEWAY.info()
MALLORY, ADA = Identity.from_seed(bytes([9] * 32)), Identity.from_seed(bytes([7] * 32))


def beacon(*gateways: str, at_ms: int = NOW, lasts_ms: int = BEACON_FOR_MS, run: str = INFO.name) -> Beacon:
    return Beacon(
        run=run, gateways=gateways, newest=None, bootstrap=(ADDRESS,), at_ms=at_ms, expires_at_ms=at_ms + lasts_ms
    )


def signed(made: Beacon, who: Identity = GATEWAY.identity) -> str:
    return pack(made, who).decode()


LIES = {
    "forged": signed(beacon(EVIL), MALLORY),
    "expired": signed(beacon(EVIL, at_ms=NOW - BEACON_FOR_MS - 1)),
    "of another run": signed(beacon(EVIL, run="another")),
    "oversized": "x" * 5000,
    "nonsense": "{}",
    "of the future": signed(beacon(EVIL, at_ms=NOW + 3_600_000)),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_is_no_beacon_and_says_why(lie: str) -> None:
    heard = newest_beacon([lie], INFO, NOW)
    assert heard.beacon is None
    assert len(heard.refused) == 1
    chosen = choose(heard, [], OLD, 30.0, NOW)
    assert chosen.url is None
    assert "1 beacons that do not hold" in chosen.reason


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(LIES.values())), max_size=20), st.integers(0, 20))
def test_however_many_lie_the_newest_true_beacon_is_found(lies: list[str], at: int) -> None:
    older, newer = beacon(OLD, at_ms=NOW - 1000), beacon(NEW)
    records = [*lies[:at], signed(older), *lies[at:], signed(newer)]
    assert newest_beacon(records, INFO, NOW) == Heard(newer, newest_beacon(lies, INFO, NOW).refused)


def test_a_replayed_beacon_is_older_than_one_that_was_seen() -> None:
    heard = newest_beacon([signed(beacon(OLD, at_ms=NOW - 5000))], INFO, NOW, seen_at_ms=NOW)
    assert heard.beacon is None
    assert "5 s older than one that was seen before" in heard.refused[0]


def test_who_is_silent_is_not_asked_again_and_nobody_twice() -> None:
    assert to_try(beacon(OLD, NEW, EVIL, NEW), OLD) == (NEW, EVIL)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "other"}, "it is the run 'other'"),
        ({"coordinator_key": MALLORY.public}, "its coordinator is"),
        ({"root_digest": "b3:" + "1" * 64}, "another root"),
        ({"description": "changed", "newest": "9.9.9"}, ""),
    ],
)
def test_the_same_run_is_known_by_name_key_and_root(changes: dict[str, Any], says: str) -> None:
    assert says in is_another(INFO.model_copy(update=changes), INFO)
    assert bool(says) == bool(is_another(INFO.model_copy(update=changes), INFO))


def test_the_first_gateway_that_is_the_run_is_taken_and_no_later_one_is_asked() -> None:
    asked: list[str] = []

    def tried() -> Any:
        for url, fault in ((EVIL, "it is the run 'x'"), (NEW, ""), (OLD, "")):
            asked.append(url)
            yield Tried(url, fault)

    chosen = choose(Heard(beacon(EVIL, NEW, OLD)), tried(), OLD, 30.0, NOW + 60_000)
    assert chosen.url == NEW
    assert asked == [EVIL, NEW]
    names = f"its beacon of 60 s ago names {NEW}, which answers as the same run"
    assert chosen.reason == f"{OLD} has been silent for 30 s; {names}"


class PretendSidecar:
    """A swarm with records in it."""

    def __init__(self) -> None:
        self.state = SidecarState("ready", facts={"peer": PEER})
        self.beacons: list[str] = []
        self.nodes: list[dict[str, str]] = []
        self.published: list[dict[str, Any]] = []
        self.peers, self.meets = 3, 0
        self.asked: list[str] = []

    def ask(self, command: str, _timeout_s: float, **arguments: Any) -> dict[str, Any]:
        if self.state.doing != "ready":
            raise SwarmError(f"the sidecar for peers is {self.state.doing}")
        self.asked.append(command)
        if command == "publish":
            self.published.append(arguments)
        return {
            "publish": {"stored": True},
            "beacon": {"records": [{"subkey": "", "record": record} for record in self.beacons]},
            "nodes": {"records": self.nodes},
            "about": {"peers": self.peers},
            "meet": {"met": self.meets},
        }[command]


class Answering:
    """A gateway that says what run it is, or nothing."""

    def __init__(self, info: RunInfo | None) -> None:
        self.info = info

    def run_info(self) -> RunInfo:
        if self.info is None:
            raise UnreachableError("the connection was refused")
        return self.info


class World:
    """A node's discovery, with a clock that the test moves."""

    def __init__(self, root: Path) -> None:
        self.now_s = 1000.0
        self.where = Whereabouts(OLD, lambda: self.now_s)
        self.sidecar, self.tally = PretendSidecar(), SwarmTally("discovery")
        self.tally.follow("discovery", cast("Sidecar", self.sidecar))
        self.told: list[NodeEvent] = []
        self.gateways: dict[str, RunInfo | None] = {NEW: INFO}
        self.folder = NodeFolder(root)
        self.start()

    def start(self) -> None:
        node = SwarmNode(SwarmChoice(), INFO, self.where, self.folder, ADA, "ada", self.told.append, self.tally)
        self.discovery = Discovery(node, cast("Sidecar", self.sidecar), self._client, self._now_ms)

    def _now_ms(self) -> int:
        return NOW + round((self.now_s - 1000) * 1000)

    def _client(self, url: str) -> GatewayClient:
        return cast("GatewayClient", Answering(self.gateways.get(url)))

    def silent_for(self, seconds: float) -> None:
        self.where.missed()
        self.now_s += seconds
        self.discovery.turn()

    def said(self) -> list[str]:
        return [event.text for event in self.told if isinstance(event, Notice)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_node_follows_its_coordinator_and_remembers(world: World) -> None:
    world.sidecar.beacons = [*LIES.values(), signed(beacon(NEW))]
    world.silent_for(LOOK_AFTER_S - 1)
    assert world.where.url == OLD
    world.silent_for(2)
    assert world.where.url == NEW
    assert world.folder.url.read_text() == f"{NEW}\n"
    (moved,) = [event for event in world.told if isinstance(event, Moved)]
    assert (moved.url, moved.before) == (NEW, OLD)
    found = world.tally.now().discovery
    assert found is not None
    assert found["moved"] == 1
    memory = SwarmMemory.load(world.folder.swarm)
    assert (memory.left, memory.bootstrap) == ((OLD,), (ADDRESS,))
    assert not world.said()


@pytest.mark.parametrize("answers", [None, INFO.model_copy(update={"coordinator_key": MALLORY.public})])
def test_a_hint_that_does_not_hold_is_said_once_and_ignored(world: World, answers: RunInfo | None) -> None:
    world.sidecar.beacons = [signed(beacon(OLD, NEW))]
    world.gateways[NEW] = answers
    for _ in range(5):
        world.silent_for(40)
    assert world.where.url == OLD
    assert len(world.said()) == 1
    assert f"{NEW} does not count, for" in world.said()[0]
    assert world.said()[0].endswith("waiting for it")


def test_without_a_swarm_it_waits_and_says_so_once(world: World) -> None:
    world.sidecar.state = SidecarState("down", "it was killed")
    for _ in range(5):
        world.silent_for(40)
    assert world.said() == [
        f"{OLD} has been silent for 40 s, and the swarm cannot be asked: the sidecar for peers is down"
    ]


def test_a_replay_after_a_restart_is_one_still(world: World) -> None:
    world.sidecar.beacons = [signed(beacon(NEW))]
    world.silent_for(LOOK_AFTER_S)
    world.start()
    world.sidecar.beacons = [signed(beacon(OLD, at_ms=NOW - 10_000))]
    world.silent_for(LOOK_AFTER_S + 60)
    assert world.where.url == NEW
    assert "older than one that was seen before" in world.said()[0]


def test_a_coordinator_that_answers_is_not_looked_for(world: World) -> None:
    world.sidecar.beacons = [signed(beacon(NEW))]
    for _ in range(3):
        world.where.missed()
        world.where.heard()
        world.now_s += 100
        world.discovery.turn()
    assert world.where.url == OLD


def test_progress_is_told_signed_and_not_often(world: World) -> None:
    for step in range(1, 61):
        world.discovery.tell(Step(step, 60, 4.0))
        world.now_s += 1
        world.discovery.turn()
    assert len(world.sidecar.published) == 4
    last = world.sidecar.published[-1]
    at_ms = last["expires_at_ms"] - PROGRESS_FOR_MS
    key, progress = open_progress(last["record"].encode(), INFO.name, last["subkey"], at_ms)
    assert (key, progress.name, progress.doing) == (ADA.public, "ada", "training")
    assert 40 < progress.step <= 60


def test_who_is_there_is_read_from_records_that_hold(world: World) -> None:
    def told(who: Identity, subkey: str | None = None) -> dict[str, str]:
        status = NodeStatus(1, 0).after(Leased("l", 3, "0.1.0", "text", 20), NOW)
        made = Announcer(INFO.name, "grace").progress(status, PEER, NOW)
        return {"subkey": subkey or f"{who.public}.{PEER}", "record": pack(made, who).decode()}

    world.sidecar.nodes = [
        told(MALLORY),
        told(ADA),
        told(MALLORY, f"{ADA.public}.{PEER}"),
        {"subkey": "", "record": "{"},
    ]
    world.discovery.turn()
    found = world.tally.now().discovery
    assert found is not None
    assert found["nodes"] == 1
    assert [one["contributor"] for one in found["seen"]] == [MALLORY.public, ADA.public]


def test_the_newest_release_is_known_from_the_newest_beacon(world: World) -> None:
    older, newer = (
        beacon(NEW, at_ms=at_ms).model_copy(update={"newest": newest})
        for at_ms, newest in ((NOW - 2000, "0.1.3"), (NOW - 1000, "0.1.4"))
    )
    for heard in ([signed(newer), signed(older)], [signed(older)]):  # then a replay alone
        world.sidecar.beacons = heard
        world.discovery.turn()
        world.now_s += 60
        found = world.tally.now().discovery
        assert found is not None
        assert (found["newest"], found["newest_at_ms"]) == ("0.1.4", NOW - 1000)


def test_who_is_alone_tries_again_those_that_it_knows(world: World) -> None:
    SwarmMemory(bootstrap=(ADDRESS,)).keep(world.folder.swarm)
    world.start()
    world.sidecar.peers = 0
    world.discovery.turn()
    ((_, said),) = world.tally.now().words()
    assert "alone so far, for none of 1 known hosts answers" in said
    world.sidecar.meets, world.now_s = 1, world.now_s + 20
    world.discovery.turn()
    ((_, said),) = world.tally.now().words()
    assert "0 other nodes here now" in said


def test_hosts_that_the_run_names_later_are_met_then(world: World) -> None:
    world.sidecar.peers = 0
    world.discovery.turn()
    ((_, said),) = world.tally.now().words()
    assert "alone so far, for the run names no hosts" in said
    assert "meet" not in world.sidecar.asked
    world.gateways[OLD] = INFO.model_copy(update={"swarm": SwarmInfo(bootstrap=(ADDRESS,))})
    world.sidecar.meets, world.now_s = 1, world.now_s + 20
    world.discovery.turn()
    ((_, said),) = world.tally.now().words()
    assert "0 other nodes here now" in said


@settings(deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_what_is_said_is_said_again_before_it_ends(age_ms: int, changed: bool) -> None:
    announcer, status = Announcer("r", "ada"), NodeStatus(1, 0)
    last = announcer.progress(status, PEER, NOW)
    now = announcer.progress(status.now("waiting", "", NOW) if changed else status, PEER, NOW + age_ms)
    assert is_due(last, now) == (age_ms >= (AT_MOST_MS if changed else AGAIN_MS))
    assert is_due(None, now)
    assert 2 * AGAIN_MS < PROGRESS_FOR_MS


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"bootstrap": ["x"]}', b"\xff"])
def test_a_damaged_memory_begins_anew(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "swarm.json").write_bytes(data)
    assert SwarmMemory.load(tmp_path / "swarm.json") == SwarmMemory()
