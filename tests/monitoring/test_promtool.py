"""Rules, questions and metrics, as promtool sees them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from barnraise.metric import Readings, Spread
from barnraise.metrics import families
from contributor.tally import CATALOGUE as NODE
from coordinator.metrics.catalogue import CATALOGUE
from deploy.grafana.generate import asked

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"


def run(promtool: str, *arguments: str | Path, stdin: bytes | None = None) -> str:
    """What promtool says; it must be content."""
    done = subprocess.run([promtool, *map(str, arguments)], input=stdin, capture_output=True)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def test_rules_and_configuration_are_valid(promtool: str) -> None:
    run(promtool, "check", "rules", *sorted((PROMETHEUS / "rules").iterdir()))
    run(promtool, "check", "config", PROMETHEUS / "prometheus.yml")


def test_alerts_fire_when_they_should_and_not_before(promtool: str) -> None:
    run(promtool, "test", "rules", *sorted((PROMETHEUS / "tests").glob("*.yml")))


def test_every_alert_is_tested() -> None:
    alerts = yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text())["groups"][0]["rules"]
    tested = yaml.safe_load((PROMETHEUS / "tests" / "alerts.yml").read_text())["tests"]
    cases = [case for test in tested for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == {rule["alert"] for rule in alerts}
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == {rule["alert"] for rule in alerts}


def test_every_question_of_a_panel_is_promql(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, (_, expression) in enumerate(asked())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", path)


def test_metrics_are_as_promtool_likes_them(promtool: str) -> None:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Everything(Collector):
        """One series of every metric there is."""

        def collect(self):  # type: ignore[no-untyped-def]
            for catalogue in (CATALOGUE, NODE):
                found = Readings()
                for metric in catalogue:
                    value = Spread(metric.bounds) if metric.kind == "histogram" else 1.0
                    found.put(metric.name, value, *("x" for _ in metric.labels))
                yield from families(found, catalogue)

    registry = CollectorRegistry()
    registry.register(Everything())
    text = generate_latest(registry)
    assert all(metric.name in text.decode() for metric in (*CATALOGUE, *NODE))
    assert run(promtool, "check", "metrics", stdin=text) == ""
