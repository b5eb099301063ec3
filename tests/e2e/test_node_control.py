"""A node of a real run, commanded from other shells, killed in the middle, watched by its owner's browser."""

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

from contributor.control.address import socket_path
from processes import TINY, Answer, Program, Site, until

pytestmark = pytest.mark.xdist_group("ray")  # one after the other, for Ray takes every core

LONG = TINY.replace("steps = 30", "steps = 3000").replace(
    "target_updates = 3, min_updates = 3, collect_for_s = 60, lease_for_s = 60",
    "target_updates = 1, min_updates = 1, collect_for_s = 600, lease_for_s = 600",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A coordinator whose units take a quarter of a minute."""
    with Site(tmp_path_factory.mktemp("run")) as opened:
        opened.serves(opened.write_config(LONG))
        yield opened


@pytest.fixture(name="ada")
def _ada(site: Site) -> Iterator[Program]:
    """A node that is training."""
    program = site.joins("ada", "--page")
    at_step(site, 1)
    yield program
    if not program.ended:
        os.kill(program.process.pid, signal.SIGTERM)
        program.ends()


def told(site: Site, command: str) -> Answer:
    return site.runs(command, "--home", str(site.root / "ada"), "--json")


def status(site: Site) -> dict[str, Any]:
    """What the node says of itself; of a node that is starting, nothing yet."""
    answer = told(site, "status")
    found: dict[str, Any] = answer.result["nodes"][0] if answer.code == 0 else {}
    return found


def doing(site: Site) -> dict[str, Any]:
    return status(site).get("status") or {"doing": "", "step": 0}


def at_step(site: Site, step: int) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        now = doing(site)
        return now if now["doing"] == "training" and now["step"] >= step else None

    return until(there, f"step {step}") or {}


def test_pause_resume_and_finish_from_another_shell(site: Site, ada: Program) -> None:
    assert "pauses after step" in told(site, "pause").result["said"]
    until(lambda: doing(site)["doing"] == "resting", "a pause")
    paused = doing(site)
    assert "barnraise resume" in paused["why"]
    assert (site.root / "ada" / "tiny" / paused["contributor"][:8] / "checkpoint").exists()
    assert told(site, "resume").result["said"] == "goes on"
    at_step(site, paused["step"] + 1)
    assert "finishes the unit" in told(site, "finish").result["said"]
    assert ada.ends() == 0
    (unit,) = told(site, "history").result["units"]
    assert (unit["steps"], unit["state"]) == (3000, "received")
    steps = [event["step"] for event in ada.said("step")]
    assert steps == list(range(1, 3001))
    gone = told(site, "pause")
    assert (gone.code, gone.error["code"]) == (15, "no-node")
    assert status(site)["running"] is False
    assert "the unit was finished, as asked" in status(site)["status"]["why"]


def test_a_killed_node_goes_on_from_its_checkpoint(site: Site, ada: Program) -> None:
    told(site, "pause")
    until(lambda: doing(site)["doing"] == "resting", "a pause, for a checkpoint at a step that is known")
    paused, folder = doing(site)["step"], Path(status(site)["folder"])
    told(site, "resume")
    os.kill(ada.process.pid, signal.SIGKILL)
    ada.ends()
    assert told(site, "pause").error["code"] == "no-node"
    assert socket_path(folder).exists()  # of the dead node; the next one takes its place
    before = len(ada.said("step"))
    again = site.joins("ada")
    at_step(site, 1)
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
    until(lambda: doing(site)["doing"] == "resting", "the button's pause")
    ranked = site.runs("leaderboard", "--from", site.url, "--json").result
    assert [line["name"] for line in ranked["contributors"]] == ["ada"]
