"""``barnraise round``: the same record from a run's folder and from its coordinator, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.cli import run
from barnraise.releases import http_source
from barnraise.releases.http_source import Reply
from commands import answered
from coordinator.ledger import Ledger
from over_http import door_of, url_of
from simulator import Simulation, tiny_config

CONFIG = """
name = "tiny"
[data.shards]
text = ["json"]
[[acceptance.tests]]
name = "loss-text"
kind = "loss"
shard = "text"
margin = 0.05
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """A run with a round that Krum merged, one that was abandoned, and one that is open."""
    config = tiny_config(
        merge={"strategy": "krum", "clip_norm_at": 0.95}, round={"target_updates": 5, "min_updates": 5}
    )
    simulation = Simulation(tmp_path_factory.mktemp("run"), config)
    simulation.folder.config.write_text(CONFIG)
    simulation.contributor("mallory").delivers(lambda delta_P: np.float32(-20.0) * delta_P)
    for name in ("ada", "barbara", "grace", "katherine", "a-name-that-is-much-too-long-for-a-table"):
        simulation.contributor(name).delivers()
    simulation.runs_until_tagged("0.1.1")
    simulation.contributor("ada").takes_lease()
    simulation.passes(601)
    simulation.runs_until("abandoned")
    simulation.ticks()
    return simulation


@pytest.fixture
def over_http(ended: Simulation, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of that run's gateway, called in this process."""
    return url_of(ended, monkeypatch)


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    return answered(capsys, "round", *argv)[1]


def test_folder_and_coordinator_tell_the_same(
    ended: Simulation, over_http: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv in (["ls"], ["show", "1"], ["show"]):
        told_by_folder = told(capsys, *argv, "--from", str(ended.folder.root))
        told_by_gateway = told(capsys, *argv, "--from", over_http)
        assert told_by_folder.pop("from") == str(ended.folder.root)
        assert told_by_gateway.pop("from") == over_http
        assert told_by_folder == told_by_gateway


def test_a_record_has_fates_weights_conflicts_and_the_verdict(
    ended: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    record = told(capsys, "show", "1", "--from", str(ended.folder.root))
    assert record["line"]["version"] == "0.1.1"
    assert record["line"]["updates"] == {"merged": 5, "rejected": 1}
    assert sorted(row["share"] for row in record["merge"]["updates"]) == pytest.approx([0, 0, 0, 0, 1])
    assert record["merge"]["conflicts"]["pairs"] == 10
    assert record["verdict"]["passed"] is True


def test_the_words_fit_a_terminal(ended: Simulation, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["show", "1"], ["show", "2"], ["ls"], []):
        assert run(["round", *argv, "--from", str(ended.folder.root)]) == 0
        out = capsys.readouterr().out
        assert max(len(line) for line in out.splitlines()) <= 80
    assert run(["round", "show", "1", "--from", str(ended.folder.root)]) == 0
    out = capsys.readouterr().out
    for words in (
        "round 1: released: tagged 0.1.1",
        "merged   by krum; outer rule outer-nesterov",
        "100.0%",
        "rejected: alone it moves",
        "conflicts, over 10 pairs of updates",
        "TENSOR, WORST FIRST",
        "passed",
    ):
        assert words in out


def test_a_round_that_collects_says_its_learning_rate_and_one_that_ended_does_not(
    ended: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    rising = CONFIG + "[training]\nlearning_rate = 8e-3\n[schedule]\nrising_rounds = 15\n"
    ended.folder.config.write_text(rising)
    try:
        assert run(["round", "show", "--from", str(ended.folder.root)]) == 0
        assert "trains   at a learning rate of 0.0015\n" in capsys.readouterr().out
        assert told(capsys, "show", "1", "--from", str(ended.folder.root))["learning_rate"] is None
    finally:
        ended.folder.config.write_text(CONFIG)


def test_reading_a_ledger_writes_nothing_and_needs_its_schema(
    ended: Simulation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ended.ledger.last_seq()
    ledger = Ledger.open_reading(ended.folder.ledger)
    with pytest.raises(Exception, match="readonly"):
        ledger.rebuild()
    ledger.close()
    assert ended.ledger.last_seq() == before
    (tmp_path / "run.toml").write_text(CONFIG)
    assert told(capsys, "ls", "--from", str(tmp_path))["code"] == "storage"
    (tmp_path / "ledger.sqlite").touch()
    assert told(capsys, "ls", "--from", str(tmp_path))["code"] == "ledger-version"


def test_what_cannot_be_told(
    ended: Simulation, over_http: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "the newest is 3" in told(capsys, "show", "9", "--from", str(ended.folder.root))["reason"]
    assert "the newest is 3" in told(capsys, "show", "9", "--from", over_http)["reason"]
    mirror = told(capsys, "ls", "--from", str(ended.folder.public))
    assert mirror["code"] == "usage"
    assert "has releases only" in mirror["reason"]


def test_a_static_server_of_releases_knows_no_rounds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def open_url(url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
        yield Reply(404, {}, iter([b"<html>"]))

    monkeypatch.setattr(http_source, "_urllib3_opener", lambda _url: open_url)
    assert "has releases only" in told(capsys, "show", "--from", "http://mirror")["reason"]


def test_rounds_are_counted_backwards_from_the_newest(ended: Simulation) -> None:
    door = door_of(ended)
    numbers = [
        [line["number"] for line in door.call("GET", f"/v1/rounds?{query}").value["rounds"]]
        for query in ("limit=2", "before=2")
    ]
    assert numbers == [[2, 3], [1]]
    assert door.call("GET", "/v1/rounds/x").status == 404
    assert door.call("GET", "/v1/rounds/7").code == "not-found"
    assert door.call("GET", "/v1/rounds?limit=0").value["rounds"] == []
