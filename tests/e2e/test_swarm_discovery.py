"""Nodes that look for their coordinator in the swarm: it moves, it is cut off, others lie, nothing works."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from barnraise.clock import now_ms
from barnraise.identity import Identity
from barnraise.swarm.process import Sidecar
from barnraise.swarm.records import BEACON_FOR_MS, RECORD_MAX_BYTES, Beacon, beacon_key, nodes_key, open_beacon, pack
from processes import Program, Site, until
from simulator import Simulation, tiny_config

PATIENT = {"target_updates": 90, "min_updates": 90, "collect_for_s": 3600, "lease_for_s": 900}
NOBODY = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWBMDUpm2nBySSGjsBYSBiPsThcoDRwpCGpouFEdTgYoeV"
READY_S = 90.0
EVIL = "http://127.0.0.1:9"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A run with a release and no round yet; a gateway is enough for it, for nobody merges here."""
    with Site(tmp_path) as opened:
        Simulation(opened.folder.root, tiny_config(round=PATIENT), now_ms=now_ms()).ledger.close()
        yield opened


def opens_round(site: Site) -> None:
    """From now on there is work."""
    run = Simulation.of(site.folder)
    run.ticks(5)
    assert run.ledger.current_round() is not None
    run.ledger.close()


def keeps_beacon(site: Site) -> None:
    """From its next start on, the coordinator has a part in the swarm."""
    with site.folder.config.open("a") as file:
        file.write("\n[swarm]\nenabled = true\n")


def gateway(site: Site, *, elsewhere: bool = False) -> Program:
    """The gateway's process, where it was before or at another port."""
    if elsewhere:
        (site.folder.private / "port").unlink()
    site.folder.address.unlink(missing_ok=True)
    program = site.starts_module("gateway", "coordinator.gateway", "--run", str(site.folder.root))
    until(lambda: site.folder.address.exists() or program.ended, "an address")
    assert not program.ended, program.log.read_text()
    return program


def told(site: Site) -> dict[str, Any]:
    """What the coordinator's part in the swarm says of itself."""
    path = site.folder.status / "swarm.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def swarm_of(site: Site) -> dict[str, Any]:
    """What ada says of the swarm."""
    (node,) = site.runs("status", "--home", str(site.root / "ada"), "--json").result["nodes"]
    return dict(node["status"]["swarm"])


def sidecar_of(program: Program) -> psutil.Process:
    """The one of this node."""
    (found,) = [
        child
        for child in psutil.Process(program.process.pid).children()
        if "barnraise.swarm.sidecar" in child.cmdline()
    ]
    return found


def joins(site: Site, *options: str) -> Program:
    """A node that is in the swarm, and waits for a round."""
    ada = site.joins("ada", "--units", "1", *options)
    ada.says("waiting")
    until(lambda: swarm_of(site)["discovery"]["state"] == "ready", "a sidecar")
    return ada


def test_a_node_finds_the_coordinator_that_moved_also_after_its_sidecar_was_killed(site: Site) -> None:
    keeps_beacon(site)
    first = gateway(site)
    before = site.url
    site.starts_module("beacon", "coordinator.beacon", "--run", str(site.folder.root))
    until(lambda: told(site).get("published_at_ms"), "a beacon")
    ada = joins(site, "--swarm", "--no-peers")
    until(lambda: swarm_of(site)["discovery"]["seen"], "somebody in the swarm")
    shown = site.runs("swarm", "--home", str(site.root / "ada"))
    assert "waiting" in shown.out
    sidecar = sidecar_of(ada)
    os.kill(sidecar.pid, signal.SIGKILL)
    ada.notes("was killed by signal 9")
    until(lambda: swarm_of(site)["discovery"]["state"] == "ready", "another sidecar")

    first.kill()
    opens_round(site)
    gateway(site, elsewhere=True)
    assert site.url != before
    moved = ada.says("moved")
    assert (moved["url"], moved["before"]) == (site.url, before)
    assert "answers as the same run" in moved["reason"]
    ada.says("received")
    assert ada.ends() == 0
    assert swarm_of(site)["discovery"]["moved"] == 1
    (node,) = site.runs("status", "--home", str(site.root / "ada"), "--json").result["nodes"]
    assert node["url"] == node["status"]["url"] == site.url


@pytest.fixture
def liars(site: Site) -> Iterator[list[str]]:
    """Twenty peers that know everything about the run, and lie; their addresses."""
    coordinator, mallory = Identity.load(site.folder.key), Identity.generate()
    now = now_ms()

    def signed(who: Identity, at_ms: int, expires_at_ms: int) -> str:
        beacon = Beacon(
            run="tiny", gateways=(EVIL,), newest=None, bootstrap=(), at_ms=at_ms, expires_at_ms=expires_at_ms
        )
        return pack(beacon, who).decode()

    key, lasts = coordinator.public, BEACON_FOR_MS
    lies: list[dict[str, Any]] = [
        {"subkey": key, "record": signed(mallory, now, now + lasts)},
        {"subkey": mallory.public, "record": signed(mallory, now, now + lasts)},
        {"subkey": key, "record": signed(coordinator, now - 2 * lasts, now - lasts)},
        {"subkey": key, "record": "x" * (64 * RECORD_MAX_BYTES)},
        {"subkey": key, "record": "{"},
        {"mute": True},
        # what the coordinator itself once said of an address that is somebody else's now, and still holds
        {
            "subkey": key,
            "record": signed(coordinator, now, now + lasts),
            "expires_s": (now + lasts) / 1000,
        },
    ]
    command = [sys.executable, str(Path(__file__).parents[1] / "lying_peers.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        tempfile.TemporaryDirectory(prefix="liars-", ignore_cleanup_errors=True) as folder,  # short, for sockets
        subprocess.Popen(command, **pipes, text=True, env=site.environment) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        lies_of = {beacon_key("tiny", key): lies, nodes_key("tiny", key): lies}
        process.stdin.write(json.dumps({"count": 20, "lies": lies_of, "folder": folder}) + "\n")
        process.stdin.flush()
        try:
            yield json.loads(process.stdout.readline())["addresses"]
        finally:
            process.kill()  # its hosts end with the site


def test_whoever_is_among_liars_only_waits_and_is_never_led_astray(site: Site, liars: list[str]) -> None:
    first = gateway(site)
    before = site.url
    assert len(liars) == 20
    peers = [option for address in liars[:16] for option in ("--swarm-peer", address)]
    ada = joins(site, "--swarm", "--no-peers", *peers)
    until(lambda: swarm_of(site)["discovery"]["peers"] >= 5, "liars to be known, without those that never answer")
    first.kill()
    ada.notes(f"{before} has been silent")
    opens_round(site)
    gateway(site)
    assert site.url == before
    ada.says("received")
    assert ada.ends() == 0
    assert not ada.said("moved")
    found = swarm_of(site)["discovery"]
    assert (found["moved"], found["nodes"]) == (0, 0)
    assert {one["name"] for one in found["seen"]} <= {"ada"}  # which may keep its own record, where few others answer


def test_the_dht_takes_and_gives_back_only_what_holds(tmp_path: Path) -> None:
    coordinator, mallory = Identity.generate(), Identity.generate()
    now = now_ms()

    def stored(who: Identity, subkey: str, *, at_ms: int = now, later_ms: int = 0, padding: str = "") -> bool:
        beacon = Beacon(
            run="r", gateways=(EVIL,), newest=None, bootstrap=(), at_ms=at_ms, expires_at_ms=at_ms + BEACON_FOR_MS
        )
        record = pack(beacon, who).decode() + padding
        ends_ms = beacon.expires_at_ms + later_ms
        asked = sidecar.ask("publish", 60.0, what="beacon", subkey=subkey, record=record, expires_at_ms=ends_ms)
        return bool(asked["stored"])

    settings = {"run": "r", "coordinator": coordinator.public, "discovery": {}}
    sidecar = Sidecar("peers", lambda: settings, tmp_path / "log", lambda _said: None)
    sidecar.start()
    try:
        assert sidecar.wait_ready(READY_S)
        assert not stored(mallory, coordinator.public)
        assert not stored(mallory, mallory.public)
        assert not stored(coordinator, mallory.public)
        assert not stored(coordinator, coordinator.public, later_ms=60_000)
        assert not stored(coordinator, coordinator.public, at_ms=now - BEACON_FOR_MS // 2, later_ms=BEACON_FOR_MS // 2)
        assert not stored(coordinator, coordinator.public, padding=" " * RECORD_MAX_BYTES)
        assert sidecar.ask("beacon", 60.0)["records"] == []
        assert stored(coordinator, coordinator.public)
        (found,) = sidecar.ask("beacon", 60.0)["records"]
        assert open_beacon(found["record"].encode(), "r", coordinator.public, now).gateways == (EVIL,)
    finally:
        sidecar.stop()


@pytest.mark.parametrize("trouble", ["port in use", "nobody to begin with"])
def test_a_node_works_without_a_swarm_and_says_why_there_is_none(site: Site, trouble: str) -> None:
    opens_round(site)
    gateway(site)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"
        options = ["--swarm-listen", listen] if trouble == "port in use" else ["--swarm-peer", NOBODY]
        ada = site.joins("ada", "--swarm", *options)
        ada.says("received")
        if trouble == "port in use":
            ada.notes("hivemind's libp2p daemon does not start")
        else:
            until(lambda: "none of 1 known hosts answers" in swarm_of(site)["discovery"]["alone"], "to be alone")
        ada.interrupt()
        assert ada.ends() == 0
