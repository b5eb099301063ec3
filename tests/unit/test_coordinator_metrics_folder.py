"""What is read from a run's folder, how often, and what a scrape says while something is missing or broken."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from barnraise.metric import Readings, Spread
from barnraise.run_folder import RunFolder
from coordinator.conductor.heartbeat import nodes_of, resources_of
from coordinator.gateway.__main__ import scrape_targets
from coordinator.metrics.catalogue import CATALOGUE
from coordinator.metrics.folder import FolderGauges, expiry_s, full_in_s
from coordinator.vitals import RayNode, Resource, Vitals, read_status, read_vitals, write_status, write_vitals
from doorstep import doorstep

VITALS = Vitals(
    1_700_000_000_000,
    1_699_999_000_000,
    3,
    1,
    (RayNode("10.0.0.1", True, "10.0.0.1:4000"), RayNode("10.0.0.2", False, "")),
    (Resource("CPU", 8.0, 3.0), Resource("object_store_memory", 1e8, 5e7)),
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.create()
    return made


def metadata(folder: RunFolder, name: str, expires: str) -> None:
    path = folder.public / "metadata" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"signed": {"expires": expires}}))


# -- sizes, expiries, backups ---------------------------------------------------------------


def test_sizes_are_looked_at_again_after_a_while(folder: RunFolder) -> None:
    now = [0.0]
    gauges = FolderGauges(folder, lambda: now[0])

    def public() -> tuple[object, object]:
        found = gauges.readings(0.0)
        return found.of("barnraise_store_size_bytes")["public",], found.of("barnraise_store_files")["public",]

    assert public() == (0, 0)
    (folder.public / "blobs").mkdir()
    (folder.public / "blobs" / "one").write_bytes(b"x" * 100)
    now[0] = 59.0
    assert public() == (0, 0)
    now[0] = 60.0
    assert public() == (100, 1)


def test_a_store_that_takes_long_to_walk_is_walked_seldom(folder: RunFolder) -> None:
    ticks = iter([0.0, 0.0 + 30.0, 2999.0, 3000.0, 3001.0])  # began, ended; too early; due, ended
    gauges = FolderGauges(folder, lambda: next(ticks))
    gauges.readings(0.0)
    (folder.staging / "x.json").write_bytes(b"{}")
    assert gauges.readings(0.0).of("barnraise_store_files")["staging",] == 0
    assert gauges.readings(0.0).of("barnraise_store_files")["staging",] == 1


def test_the_newest_metadata_of_each_role_counts(folder: RunFolder) -> None:
    metadata(folder, "timestamp.json", "2023-11-14T22:13:20Z")
    metadata(folder, "9.snapshot.json", "2023-11-14T22:13:20Z")
    metadata(folder, "10.snapshot.json", "2023-11-15T22:13:20Z")
    metadata(folder, "1.root.json", "nonsense")
    found = FolderGauges(folder).readings(0.0).of("barnraise_metadata_expiry_timestamp_seconds")
    assert found == {("timestamp",): 1_700_000_000.0, ("snapshot",): 1_700_086_400.0}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"signed": 1}', '{"signed": {}}', '{"signed": {"expires": 7}}'])
def test_metadata_that_is_being_written_is_left_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "timestamp.json"
    path.write_text(text)
    assert expiry_s(path) is None
    assert expiry_s(tmp_path / "missing") is None


def test_when_the_disk_is_full() -> None:
    assert full_in_s(1000, 10.0) == 100.0
    assert full_in_s(1000, 0.0) == math.inf


def test_backups_uploads_and_the_disk(folder: RunFolder) -> None:
    found = FolderGauges(folder).readings(0.0)
    assert not found.of("barnraise_backup_timestamp_seconds")
    write_status(folder.status / "backup.json", {"at_ms": 5000})
    (folder.staging / "a.json").write_bytes(b"{}")
    (folder.staging / "a.part").write_bytes(b"")
    found = FolderGauges(folder).readings(0.0)
    assert found.of("barnraise_backup_timestamp_seconds") == {(): 5.0}
    assert found.of("barnraise_uploads_staged") == {(): 1}
    free, size = (found.of(f"barnraise_disk_{name}_bytes")[()] for name in ("free", "size"))
    assert not isinstance(free, Spread)
    assert not isinstance(size, Spread)
    assert 0 < free <= size


# -- the conductor's file -----------------------------------------------------------------------


def test_vitals_come_back_as_they_were_written(folder: RunFolder) -> None:
    assert read_vitals(folder) is None
    write_vitals(folder, VITALS)
    assert read_vitals(folder) == VITALS
    found = FolderGauges(folder).readings(0.0)
    assert found.of("barnraise_conductor_beat_timestamp_seconds") == {(): 1_700_000_000.0}
    assert found.of("barnraise_ray_nodes") == {("yes",): 1, ("no",): 1}
    assert found.of("barnraise_ray_resources")["cpu", "free"] == 3.0
    assert found.of("barnraise_ray_tasks") == {("running",): 3, ("held",): 1}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"at_ms": 1}', '{"nodes": [1], "resources": []}', "\x00" * 100])
def test_vitals_of_another_version_or_half_written_are_none(folder: RunFolder, text: str) -> None:
    (folder.status / "conductor.json").write_text(text)
    assert read_vitals(folder) is None
    assert isinstance(read_status(folder.status / "conductor.json"), dict)


def test_what_ray_says_of_itself_becomes_targets_and_numbers() -> None:
    nodes = [
        {"NodeManagerAddress": "10.0.0.2", "Alive": False, "MetricsExportPort": 5000},
        {"NodeManagerAddress": "10.0.0.1", "Alive": True, "MetricsExportPort": 4000},
        {"NodeManagerAddress": "10.0.0.3", "Alive": True, "MetricsExportPort": 0},
    ]
    assert nodes_of(nodes) == (
        RayNode("10.0.0.1", True, "10.0.0.1:4000"),
        RayNode("10.0.0.2", False, ""),
        RayNode("10.0.0.3", True, ""),
    )
    assert resources_of({"CPU": 2.0, "node:x": 1.0}, {}) == (Resource("CPU", 2.0, 0.0),)


@pytest.mark.parametrize(
    ("host", "target"),
    [("127.0.0.1", "127.0.0.1:80"), ("0.0.0.0", "127.0.0.1:80"), ("::", "[::1]:80"), ("10.0.0.1", "10.0.0.1:80")],
)
def test_prometheus_on_this_machine_is_told_an_address_that_it_can_reach(host: str, target: str) -> None:
    assert scrape_targets(host, 80, "toy") == [{"targets": [target], "labels": {"run": "toy"}}]


# -- the whole scrape -----------------------------------------------------------------------------


def test_a_scrape_shows_nothing_that_is_not_in_the_catalogue(tmp_path: Path) -> None:
    with doorstep(tmp_path / "run") as door:
        door.sent(b"x" * 100)
        write_vitals(door.state.folder, VITALS)
        door.call("GET", "/v1/updates/hostile")
        text = door.call("GET", "/metrics").body.decode()
    listed = {metric.name.removesuffix("_total") for metric in CATALOGUE}
    shown = {line.split()[2].removesuffix("_total") for line in text.splitlines() if line.startswith("# TYPE")}
    assert shown <= listed
    assert 'barnraise_http_refusals_total{code="not-found"} 1.0' in text
    assert 'barnraise_http_sent_bytes_total{route="/v1/updates/{digest}"}' in text
    assert 'barnraise_http_request_seconds_count{route="/v1/leases"} 1.0' in text
    assert "hostile" not in text


def test_metrics_are_there_while_the_ledger_is_not(tmp_path: Path) -> None:
    with doorstep(tmp_path / "run") as door:
        assert "barnraise_ledger_readable 1.0" in door.call("GET", "/metrics").body.decode()
        door.ledger.close()
        for path in door.state.folder.root.glob("ledger.sqlite*"):
            path.write_bytes(b"no ledger" * 1000)
        answer = door.call("GET", "/metrics")
        assert answer.status == 200
        text = answer.body.decode()
        assert "barnraise_ledger_readable 0.0" in text
        assert "barnraise_disk_free_bytes" in text
        assert "barnraise_updates{" not in text  # rather none than a number that may be wrong


def test_metrics_are_there_while_the_disk_is_not(tmp_path: Path) -> None:
    with doorstep(tmp_path / "run") as door:
        (tmp_path / "run").rename(tmp_path / "away")
        text = door.call("GET", "/metrics").body.decode()
        assert "barnraise_disk_free_bytes" not in text
        assert "barnraise_ledger_readable" in text
        (tmp_path / "away").rename(tmp_path / "run")
        assert "barnraise_disk_free_bytes" in door.call("GET", "/metrics").body.decode()


def test_counters_go_on_after_a_restart(tmp_path: Path) -> None:
    with doorstep(tmp_path / "run") as door:
        door.sent(b"x" * 100)
        before = door.call("GET", "/metrics").body.decode()
        door.restart()
        after = door.call("GET", "/metrics").body.decode()
    counters = {metric.name for metric in CATALOGUE if metric.kind != "gauge" and metric.source == "ledger"}

    def lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] in counters]

    assert lines(before) == lines(after)
    assert any("barnraise_update_received_bytes_total 100.0" in line for line in lines(after))


def test_labels_are_cut_and_readings_merge() -> None:
    one, other = Readings(), Readings()
    one.put("a", 1.0, "x" * 1000)
    other.put("a", 2.0, "y")
    one.update(other)
    assert set(one.of("a")) == {("x" * 64,), ("y",)}


def test_a_spread_counts_what_is_at_a_bound_below_it() -> None:
    spread = Spread((1.0, 10.0))
    for value in (0.5, 1.0, 1.5, 10.0, 11.0):
        spread.add(value)
    assert spread.cumulative() == [("1.0", 2.0), ("10.0", 4.0), ("+Inf", 5.0)]
    assert spread.total == 24.0
