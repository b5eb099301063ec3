"""A node before a real gateway, commanded from other shells, killed in the middle, watched by its owner's browser.

One lease is all that it needs, so nobody merges here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barnraise.clock import now_ms
from contributor.control.address import socket_path
from processes import Answer, Program, Site, until
from simulator import Simulation, tiny_config

ROUND = {"target_updates": 1, "min_updates": 1, "collect_for_s": 600, "lease_for_s": 600}
TRAINING = {"steps": 2000, "batch": 8, "learning_rate": 1e-2}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A round is open, whose units take a quarter of a minute."""
    with Site(tmp_path) as opened:
        run = Simulation(opened.folder.root, tiny_config(round=ROUND, training=TRAINING), now_ms())
        run.ticks()
        assert run.ledger.current_round() is not None
        run.ledger.close()
        opened.listens()
        yield opened


@pytest.fixture(name="ada")
def _ada(site: Site) -> Iterator[Program]:
    """A node that is training."""
    program = site.joins("ada", "--page")
    program.says("step")
    yield program
    if not program.ended:
        os.kill(program.process.pid, signal.SIGTERM)
        program.ends()


def told(site: Site, command: str) -> Answer:
    return site.runs(command, "--home", str(site.root / "ada"), "--json")


def status(site: Site) -> dict[str, Any]:
    """What the node says of itself."""
    return dict(told(site, "status").result["nodes"][0])


def doing(site: Site) -> dict[str, Any]:
    return dict(status(site)["status"])


def test_pause_resume_and_finish_from_another_shell(site: Site, ada: Program) -> None:
    assert "pauses after step" in told(site, "pause").result["said"]
    ada.says("resting")
    paused = doing(site)
    assert paused["doing"] == "resting"
    assert "barnraise resume" in paused["why"]
    assert (site.root / "ada" / "tiny" / paused["contributor"][:8] / "checkpoint").exists()
    assert told(site, "resume").result["said"] == "goes on"
    until(lambda: ada.said("step")[-1]["step"] > paused["step"], "a step after the pause")
    assert "finishes the unit" in told(site, "finish").result["said"]
    assert ada.ends() == 0
    (unit,) = told(site, "history").result["units"]
    assert (unit["steps"], unit["state"]) == (2000, "received")
    steps = [event["step"] for event in ada.said("step")]
    assert steps == list(range(1, 2001))
    gone = told(site, "pause")
    assert (gone.code, gone.error["code"]) == (15, "no-node")
    assert status(site)["running"] is False
    assert "the unit was finished, as asked" in status(site)["status"]["why"]


def test_a_killed_node_goes_on_from_its_checkpoint(site: Site, ada: Program) -> None:
    told(site, "pause")
    ada.says("resting")  # which leaves a checkpoint at a step that is known
    node = status(site)
    paused, folder = node["status"]["step"], Path(node["folder"])
    told(site, "resume")
    os.kill(ada.process.pid, signal.SIGKILL)
    ada.ends()
    assert told(site, "pause").error["code"] == "no-node"
    assert socket_path(folder).exists()  # of the dead node; the next one takes its place
    before = len(ada.said("step"))
    again = site.joins("ada")
    again.says("step", before + 1)
    (said,) = [event["text"] for event in again.said("notice") if "continuing a unit" in event["text"]][-1:]
    assert int(said.split("after step ")[1].split()[0]) >= paused
    assert again.said("step")[before]["step"] > paused
    assert told(site, "leave").result["said"].startswith("stops at the next step")
    assert again.ends() == 0
    assert any("gave the lease back" in event["text"] for event in again.said("notice"))


def test_nobody_else_is_let_in(site: Site, ada: Program) -> None:
    path = socket_path(Path(status(site)["folder"]))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for rubbish in (b"\n", b"{}\n", b"x" * 10_000, b"\xff" * 100 + b"\n"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(path))
            connection.sendall(rubbish)
            answer = json.loads(connection.makefile("rb").readline())
        assert answer["error"]["code"] == "usage"
    assert doing(site)["doing"] in {"training", "waiting", "pulling", "sending"}


def test_the_page_shows_the_node_to_its_owner_and_to_nobody_else(site: Site, ada: Program) -> None:
    url = doing(site)["page"]
    page = urllib.request.urlopen(url, timeout=10).read().decode()
    assert "ada" in page
    assert "<script" not in page
    host = url.split("/")[2]
    for other, headers in ((f"http://{host}/", {}), (url, {"Host": f"evil.example:{host.split(':')[1]}"})):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(other, headers=headers), timeout=10)
        assert refused.value.code in {404, 421}
        refused.value.close()
    token = page.split('name="token" value="')[1].split('"')[0]
    body = f"token={token}&action=pause".encode()
    urllib.request.urlopen(url, data=body, timeout=10).close()
    ada.says("resting")
    assert doing(site)["doing"] == "resting"
    ranked = site.runs("leaderboard", "--from", site.url, "--json").result
    assert [line["name"] for line in ranked["contributors"]] == ["ada"]
