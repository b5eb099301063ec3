"""The coordinator's beacon: what it says, when it is signed anew, and what gateway and page are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.config import RunConfig, parse_run_config
from barnraise.errors import ConfigValueError, SwarmError
from barnraise.run_folder import RunFolder
from barnraise.swarm.process import SidecarState
from barnraise.swarm.records import BEACON_FOR_MS, Beacon, open_beacon
from coordinator.beacon.content import RENEW_AFTER_MS, beacon_of, due, gateways_of
from coordinator.beacon.keeper import Keeper
from coordinator.beacon.told import TRUE_FOR_MS, SwarmTold, read_told, write_told
from coordinator.ledger.events import RunCreated
from doorstep import BASE, doorstep, toy_config
from fresh_ledger import fresh_ledger

NOW = 1_800_000_000_000
PEER = "12D3KooWBMDUpm2nBySSGjsBYSBiPsThcoDRwpCGpouFEdTgYoeV"
ADDRESS = f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"


def config(gateway: dict[str, Any] | None = None, **swarm: Any) -> RunConfig:
    value = toy_config(**gateway or {}).model_dump(mode="json")
    return parse_run_config({**value, "swarm": {"enabled": True, **swarm}}, source="toy")


class PretendSidecar:
    """Takes what it is told to take."""

    def __init__(self) -> None:
        self.state = SidecarState("ready", starts=1)
        self.addresses = [ADDRESS]
        self.published: list[Beacon] = []
        self.takes, self.is_silent = True, False

    def ask(self, command: str, _timeout_s: float, **arguments: Any) -> dict[str, Any]:
        if self.is_silent:
            raise SwarmError("the sidecar for peers did not answer within 30 s")
        if command == "about":
            return {"peer": PEER, "addresses": self.addresses, "peers": 3}
        assert (command, arguments["what"]) == ("publish", "beacon")
        record = arguments["record"].encode()
        self.published.append(open_beacon(record, "toy", arguments["subkey"], NOW + 10 * BEACON_FOR_MS, 1 << 50))
        return {"stored": self.takes}


class World:
    """A keeper, its run and its clock."""

    def __init__(self, root: Path, settings_of_run: RunConfig) -> None:
        self.folder = RunFolder(root)
        self.folder.create()
        self.ledger = fresh_ledger(self.folder.ledger)
        self.sidecar, self.now = PretendSidecar(), NOW
        self.keeper = Keeper(self.folder, settings_of_run, self.ledger, self.sidecar, lambda: self.now)  # type: ignore[arg-type]

    def listens(self, url: str) -> None:
        self.folder.address.write_text(json.dumps({"url": url, "pid": 1}))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "run", config())
    yield made
    made.ledger.close()


def test_a_section_that_would_be_ignored_is_refused() -> None:
    with pytest.raises(ConfigValueError, match="listen would be ignored: set enabled = true"):
        config(enabled=False, listen=["/ip4/127.0.0.1/tcp/1"])
    with pytest.raises(ConfigValueError, match="no multiaddress to listen at"):
        config(listen=["127.0.0.1:80"])


def test_what_is_of_one_coordinator_is_not_published_with_its_configuration() -> None:
    assert "swarm" not in config().model_dump(mode="json")
    assert config().digest == toy_config().digest


@pytest.mark.parametrize(
    ("made", "listening", "expected"),
    [
        (config(gateways=["https://a/", "https://b"]), "http://c", ("https://a", "https://b")),
        (config({"public_url": "https://d/"}), "http://c", ("https://d",)),
        (config(), "http://127.0.0.1:1", ("http://127.0.0.1:1",)),
        (config(), "http://0.0.0.0:1", ()),
        (config(), "http://[::]:1", ()),
        (config(), None, ()),
    ],
)
def test_the_beacon_names_what_the_operator_says_and_never_every_interface(
    made: RunConfig, listening: str | None, expected: tuple[str, ...]
) -> None:
    assert gateways_of(made, listening) == expected


@settings(deadline=None)
@given(st.integers(-(1 << 40), 1 << 40))
def test_one_that_still_says_the_same_is_renewed_long_before_it_ends(age_ms: int) -> None:
    last = beacon_of("toy", ["http://a"], None, [ADDRESS], NOW)
    now = beacon_of("toy", ["http://a"], None, [ADDRESS], NOW + age_ms)
    decided = due(last, now)
    assert decided.publish == (not 0 <= age_ms < RENEW_AFTER_MS)
    assert decided.reason
    assert RENEW_AFTER_MS * 3 < BEACON_FOR_MS


def test_one_that_says_something_else_is_due_at_once() -> None:
    last = beacon_of("toy", ["http://a"], "0.1.0", [ADDRESS], NOW)
    for changed in (
        beacon_of("toy", ["http://b"], "0.1.0", [ADDRESS], NOW),
        beacon_of("toy", ["http://a"], "0.1.1", [ADDRESS], NOW),
        beacon_of("toy", ["http://a"], "0.1.0", [], NOW),
    ):
        assert due(last, changed).publish
    assert due(None, last).publish


def test_the_keeper_publishes_what_is_true_and_says_so(world: World) -> None:
    told = world.keeper.turn()
    assert not world.sidecar.published
    assert "no beacon can say where the run is" in told.line(NOW)

    world.listens("http://127.0.0.1:1")
    told = world.keeper.turn()
    assert told.line(NOW + 5000) == "ready, knows 3 other hosts; the beacon of 5 s ago names http://127.0.0.1:1"
    assert world.sidecar.published[-1].gateways == ("http://127.0.0.1:1",)
    world.keeper.turn()
    assert len(world.sidecar.published) == 1

    world.listens("http://127.0.0.1:2")
    world.ledger.record(RunCreated("toy", "d", {}, "k" * 64, BASE), at_ms=NOW)
    world.keeper.turn()
    assert world.sidecar.published[-1].gateways == ("http://127.0.0.1:2",)
    world.now += RENEW_AFTER_MS
    world.keeper.turn()
    assert len(world.sidecar.published) == 3


def test_a_host_that_was_started_again_has_forgotten_and_is_told_again(world: World) -> None:
    world.listens("http://127.0.0.1:1")
    world.keeper.turn()
    world.sidecar.state = SidecarState("down", "the sidecar for peers was killed by signal 9")
    assert world.keeper.turn().line(NOW) == "down: the sidecar for peers was killed by signal 9"
    world.sidecar.state = SidecarState("ready", starts=2)
    world.keeper.turn()
    assert len(world.sidecar.published) == 2


def test_a_beacon_that_nobody_took_is_not_out(world: World) -> None:
    world.listens("http://127.0.0.1:1")
    world.sidecar.takes = False
    assert "did not take the beacon; is this machine's clock right?" in world.keeper.turn().line(NOW)
    world.sidecar.is_silent = True
    assert "did not answer within 30 s" in world.keeper.turn().line(NOW)
    world.sidecar.takes, world.sidecar.is_silent = True, False
    assert world.keeper.turn().published_at_ms == NOW


def test_addresses_that_are_none_are_named_to_nobody(world: World) -> None:
    world.listens("http://127.0.0.1:1")
    world.sidecar.addresses = ["/unix/a", ADDRESS, *(["nonsense"] * 30)]
    world.keeper.turn()
    assert world.sidecar.published[-1].bootstrap == (ADDRESS,)
    public = ADDRESS.replace("127.0.0.1", "203.0.113.5")
    world.sidecar.addresses = [ADDRESS, public]
    world.keeper.turn()
    assert world.sidecar.published[-1].bootstrap == (public,)


def test_whoever_asks_for_the_run_is_told_whom_to_begin_with(tmp_path: Path) -> None:
    with doorstep(tmp_path / "run") as door:
        assert door.call("GET", "/v1/run").value["swarm"] is None
        told = SwarmTold(door.now_ms, "ready", addresses=(ADDRESS, "nonsense"), peers=1)
        write_told(door.state.folder, told)
        assert read_told(door.state.folder) == told
        assert door.call("GET", "/v1/run").value["swarm"] == {"bootstrap": [ADDRESS]}
        assert "ready, knows 1 other host; no beacon is out" in door.call("GET", "/health").body.decode()
        write_told(door.state.folder, replace(told, addresses=()))
        assert door.call("GET", "/v1/run").value["swarm"] is None
        (door.state.folder.status / "swarm.json").write_text('{"at_ms": 1}')
        assert read_told(door.state.folder) is None


def test_the_hosts_of_a_process_that_is_gone_are_handed_to_nobody(tmp_path: Path) -> None:
    with doorstep(tmp_path / "run") as door:
        write_told(door.state.folder, SwarmTold(door.now_ms, "ready", addresses=(ADDRESS,), peers=1))
        door.now_ms += TRUE_FOR_MS
        assert door.call("GET", "/v1/run").value["swarm"] == {"bootstrap": [ADDRESS]}
        door.now_ms += 1
        assert door.call("GET", "/v1/run").value["swarm"] is None
        door.now_ms -= 2 * TRUE_FOR_MS + 2  # a file of the future says nothing about now either
        assert door.call("GET", "/v1/run").value["swarm"] is None


def test_a_process_that_is_gone_is_not_told_as_there() -> None:
    told = SwarmTold(NOW, "ready", peers=1, published_at_ms=NOW, gateways=("http://a",))
    assert told.line(NOW + TRUE_FOR_MS).startswith("ready, knows 1 other host;")
    assert told.line(NOW + TRUE_FOR_MS + 1000).startswith("nothing was heard of its process for 61 s")
