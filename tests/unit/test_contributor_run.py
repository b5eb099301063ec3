"""A node put together from a URL: what it reports reaches terminal, status and history alike."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path

import pytest

from barnraise.identity import usual_key
from contributor.client import GatewayClient
from contributor.events import Finished, Joined, NodeEvent
from contributor.folder import NodeFolder
from contributor.history import read_history
from contributor.interrupt import Interrupt
from contributor.run import NodeConfig, run_node
from contributor.status import Watch, read_status
from contributor.swarm.memory import SwarmMemory
from contributor.training.devices import Gpu, Seen
from pretend_gateway import PretendGateway

URL = "http://pretend"


@pytest.fixture(name="gateway")
def _gateway(monkeypatch: pytest.MonkeyPatch) -> PretendGateway:
    """Behind the URL; what else a node would do beyond its folder is left out."""
    gateway = PretendGateway()
    monkeypatch.setattr("contributor.run.now_ms", lambda: gateway.now_ms)
    monkeypatch.setattr(GatewayClient, "following", lambda _where: GatewayClient(gateway))
    monkeypatch.setattr("contributor.run.ReleasedBase", lambda *_arguments: gateway.bases)
    monkeypatch.setattr("contributor.live.listening", lambda *_arguments: nullcontext())
    return gateway


class Cut(BaseException):
    """Ends a node in the middle, without a word about an end."""


def test_a_node_that_waits_for_its_coordinator_says_so_to_whoever_asks(gateway: PretendGateway, tmp_path: Path) -> None:
    events: list[NodeEvent] = []

    def report(event: NodeEvent) -> None:
        events.append(event)
        if isinstance(event, Finished):
            gateway.silent_for = 1_000_000
        if event.kind == "waiting":
            raise Cut

    with pytest.raises(Cut):
        run_node(NodeConfig(URL, home=tmp_path, key=tmp_path / "key"), report)
    (joined,) = [event for event in events if isinstance(event, Joined)]
    folder = Path(joined.folder)
    assert folder.joinpath("coordinator.url").read_text() == f"{URL}\n"
    assert [unit.state for unit in read_history(folder / "history.jsonl")] == ["outbox"]
    kept = read_status(folder / "status.json")
    assert kept is not None
    assert kept.doing == "waiting"
    assert kept.why.startswith("waiting for pretend: the connection was refused")


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_who_trains_on_the_cpu_unasked_is_told_how_to_find_out_why(
    gateway: PretendGateway, tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contributor.run.look", Seen)
    events: list[NodeEvent] = []
    run_node(NodeConfig(URL, home=tmp_path, key=tmp_path / "key", device=device), events.append, max_units=0)
    (said,) = [event.line() for event in events if "training on the CPU" in event.line()]
    assert said.endswith(f"barnraise doctor {URL}") is (device == "auto")


@pytest.mark.parametrize(("device", "told"), [("auto", True), ("cuda:1", True), ("cpu", False)])
def test_a_gpu_that_computes_nothing_is_named_though_another_trains(
    gateway: PretendGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, told: bool
) -> None:
    why = "GPU 0, GTX 1080, cannot be used: CUDA error: no kernel image is available for execution on the device"
    monkeypatch.setattr("contributor.run.look", lambda: Seen((Gpu(1, "RTX 4090", 1 << 30, 8),), useless=(why,)))
    events: list[NodeEvent] = []
    run_node(NodeConfig(URL, home=tmp_path, key=tmp_path / "key", device=device), events.append, max_units=0)
    said = [event.line() for event in events if "GTX 1080" in event.line()]
    assert said == ([f"note: {why}; this says what it lacks: barnraise doctor {URL}"] if told else [])


def test_who_was_killed_is_not_taken_for_the_node_that_stopped_before(gateway: PretendGateway, tmp_path: Path) -> None:
    """What a killed process leaves is what its folder holds at some moment of its life."""
    config, seen, left = NodeConfig(URL, home=tmp_path, key=tmp_path / "key"), [], []

    def report(event: NodeEvent) -> None:
        seen.append(event)
        left.extend(read_status(path) for path in tmp_path.glob("*/*/status.json") if event.kind == "leased")

    run_node(config, report, max_units=1)
    assert not any("was killed" in event.line() for event in seen)
    gateway.round += 1
    run_node(config, report, max_units=1)
    assert [status is not None and status.has_ended for status in left] == [False, False]
    (path,) = tmp_path.glob("*/*/status.json")
    Watch(left[-1]).keep(path)
    run_node(config, report, max_units=0)
    assert any("the node that worked here before was killed" in event.line() for event in seen)


def test_a_node_remembers_a_key_that_is_not_in_the_usual_place(
    gateway: PretendGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    run_node(NodeConfig(URL, home=tmp_path, key=Path("ada.key")), lambda _event: None, max_units=0)
    (url_file,) = tmp_path.glob("*/*/coordinator.url")
    folder = NodeFolder(url_file.parent)
    assert folder.join_options == f" --home {tmp_path} --key {tmp_path / 'ada.key'}"
    usual_key().parent.mkdir(parents=True)
    Path("ada.key").rename(usual_key())
    run_node(NodeConfig(URL, home=tmp_path), lambda _event: None, max_units=0)
    assert folder.join_options == f" --home {tmp_path}"
    there = shlex.quote(str(usual_key()))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    assert folder.join_options == f" --home {tmp_path} --key {there}"


def test_who_joins_where_the_coordinator_was_goes_where_it_went(gateway: PretendGateway, tmp_path: Path) -> None:
    key = tmp_path / "key"
    run_node(NodeConfig(URL, home=tmp_path, key=key), lambda _event: None, max_units=1)
    (url_file,) = tmp_path.glob("*/*/coordinator.url")
    url_file.write_text("http://there\n")
    SwarmMemory(left=(URL,)).keep(url_file.parent / "swarm.json")
    gateway.round += 1
    gateway.silent_for = 1
    events: list[NodeEvent] = []
    slept = Interrupt(lambda _seconds: None)
    assert run_node(NodeConfig(URL, home=tmp_path, key=key), events.append, 1, slept) == 1
    (joined,) = [event for event in events if isinstance(event, Joined)]
    assert joined.url == "http://there"
    assert any("the coordinator moved to http://there" in event.line() for event in events)
    assert url_file.read_text() == "http://there\n"
