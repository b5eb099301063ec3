"""The real Prometheus, with the files of deploy/, against a real coordinator and a volunteer."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from barnraise.cli import COMMANDS
from deploy.grafana.generate import asked
from processes import TINY, Site, until

ROOT = Path(__file__).resolve().parents[2]
NOTHING_YET = (  # what a healthy run of a minute has none of
    "barnraise_test_hidden",  # its tests draw from no pool
    "barnraise_backup",  # the run is not backed up before the end
    "barnraise_notifications",  # nobody is told anything
    "barnraise_node_gpu",  # no GPU here
    "> 0",  # only if there are any
    "barnraise_merge_agreement",  # in rounds of one update there is nothing to compare
    "in_24h",  # needs hours of history
    "instance:barnraise_http_errors",  # rate over minutes
)
ONE_MINUTE = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str

    def get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.loads(answer.read())["data"]

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The series that answer; a question that cannot be asked is an error."""
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["result"]
        return found

    def targets_up(self) -> set[str]:
        """Jobs of which every target is up."""
        targets = self.get("/api/v1/targets")["activeTargets"]
        jobs = {target["labels"]["job"] for target in targets}
        return jobs - {target["labels"]["job"] for target in targets if target["health"] != "up"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, int]]:
    """A coordinator with two releases, and one volunteer of three that goes on and exports its metrics."""
    port = free_port()
    with Site(tmp_path_factory.mktemp("run")) as made:
        config = TINY.replace("target_updates = 3, min_updates = 3", "target_updates = 1, min_updates = 1")
        made.serves(made.write_config(config))
        made.joins("ada", "--metrics", str(port))
        until(lambda: len(made.releases()) >= 3, "two releases after the first")
        yield made, port


@pytest.fixture(scope="module")
def watching(site: tuple[Site, int], prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus as docs/operations.md has it, but asking every second."""
    run, node_port = site
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copytree(ROOT / "deploy" / "prometheus", folder / "etc")
    path = folder / "etc" / "prometheus.yml"
    config = yaml.safe_load(path.read_text())
    config["global"] = ONE_MINUTE
    for job in config["scrape_configs"]:
        job["file_sd_configs"][0]["refresh_interval"] = "1s"
    path.write_text(yaml.safe_dump(config))
    for rules in (folder / "etc" / "rules").iterdir():
        rules.write_text(rules.read_text().replace("interval: 30s", "interval: 1s"))
    (folder / "etc" / "targets").symlink_to(run.folder.status)
    nodes = [{"targets": [f"127.0.0.1:{node_port}"], "labels": {"node": "ada"}}]
    (run.folder.status / "node-targets.json").write_text(json.dumps(nodes))
    port = free_port()
    options = [f"--config.file={path}", f"--storage.tsdb.path={folder / 'data'}", "--log.level=warn"]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [prometheus, *options, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, cwd=folder
    )
    try:
        made = Prometheus(f"http://127.0.0.1:{port}")
        until(lambda: _ready(made) or process.poll() is not None, "Prometheus")
        assert process.poll() is None, (folder / "log").read_text()
        yield made
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _ready(made: Prometheus) -> bool:
    try:
        with urllib.request.urlopen(f"{made.url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_all_targets_are_found_and_up(watching: Prometheus) -> None:
    until(lambda: watching.targets_up() == {"barnraise", "ray", "barnraise-node"}, "every target to be up", 60)


def test_the_run_is_what_prometheus_says_it_is(watching: Prometheus, site: tuple[Site, int]) -> None:
    run, _ = site
    until(lambda: watching.ask("barnraise_releases_total"), "a scrape", 60)
    sums = {row["metric"]["bump"]: float(row["value"][1]) for row in watching.ask("barnraise_releases_total")}
    assert sums["first"] == 1
    assert sums["patch"] >= 2
    (newest,) = watching.ask("barnraise_release_info")
    assert newest["metric"]["version"] in run.releases()
    (saved,) = watching.ask("barnraise_update_dense_bytes_total / barnraise_update_received_bytes_total")
    assert 2 < float(saved["value"][1]) < 8  # 8 bits of 32, and something to say where
    assert watching.ask("barnraise_merge_seconds_count > 0")
    assert watching.ask("barnraise_test_seconds_count > 0")
    assert watching.ask('barnraise_ray_resources{resource="cpu", state="total"} > 0')
    assert watching.ask("barnraise_node_steps_total > 0")
    assert watching.ask("ray_node_cpu_utilization")


def test_every_question_of_the_dashboards_is_answered(watching: Prometheus) -> None:
    for where, question in asked():
        expression = question.replace("$__rate_interval", "10s").replace("$instance", ".+").replace("[1d]", "[5m]")
        expected = not any(word in expression for word in NOTHING_YET)
        if expected:
            until(lambda expression=expression: watching.ask(expression), f"an answer to {where}: {expression}", 60)
        else:
            watching.ask(expression)


def test_rules_are_healthy_and_nothing_cries_over_a_run_that_is_well(watching: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = watching.get("/api/v1/rules")["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        return found if all(rule["health"] == "ok" for rule in found) else []

    found = until(rules, "every rule to be evaluated", 60)
    assert len(found) > 25
    firing = {alert["labels"]["alertname"] for alert in watching.get("/api/v1/alerts")["alerts"] if _fires(alert)}
    assert not firing


def _fires(alert: dict[str, Any]) -> bool:
    return bool(alert["state"] == "firing")


def test_a_backup_is_seen(watching: Prometheus, site: tuple[Site, int], tmp_path: Path) -> None:
    assert "backup" in COMMANDS
    run, _ = site
    assert run.runs("backup", str(run.folder.root), str(tmp_path / "backup")).code == 0
    until(lambda: watching.ask("time() - barnraise_backup_timestamp_seconds < 600"), "the backup", 60)


def test_a_coordinator_that_stops_is_seen_and_counts_on_where_it_was(
    watching: Prometheus, site: tuple[Site, int]
) -> None:
    run, _ = site

    def received() -> float:
        found = watching.ask('barnraise_update_moves_total{state="received"}')
        return float(found[0]["value"][1]) if found else -1.0

    before = received()
    gateway = next(process for process in run.processes() if "coordinator.gateway" in " ".join(process.cmdline()))
    gateway.kill()
    until(lambda: not watching.ask('up{job="barnraise"} == 1'), "a gateway that is down", 60)
    until(lambda: watching.ask('up{job="barnraise"} == 1'), "the gateway to be back", 60)
    until(lambda: received() >= before, "counters that go on", 60)
    assert not watching.ask('resets(barnraise_update_moves_total{state="received"}[5m]) > 0')
