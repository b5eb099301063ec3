"""Rules, dashboards and their pages: they ask for metrics that exist, and none is forgotten."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from barnraise.cli import COMMANDS
from barnraise.metric import Metric
from contributor.tally import CATALOGUE as NODE
from coordinator.metrics.catalogue import CATALOGUE
from deploy.grafana.generate import FOLDER, asked, dashboard
from deploy.grafana.panels import DASHBOARDS, ON_NO_PANEL

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
METRICS = {metric.name: metric for metric in (*CATALOGUE, *NODE)}
FOREIGN = {"up", "ray_node_cpu_utilization"}  # of Prometheus and of Ray
TARGET_LABELS = {"instance", "job", "node", "run"}
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"


def rules(file: str) -> list[dict[str, Any]]:
    value = yaml.safe_load((PROMETHEUS / "rules" / file).read_text(encoding="ascii"))
    return [rule for group in value["groups"] for rule in group["rules"]]


ALERTS = rules("alerts.yml")
RECORDED = {rule["record"] for rule in rules("recording.yml")}


def expressions() -> Iterator[tuple[str, str]]:
    """Every question that is asked anywhere, and by whom."""
    yield from asked()
    for rule in (*ALERTS, *rules("recording.yml")):
        yield rule.get("alert") or rule["record"], rule["expr"]


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Metrics that an expression names, each with the labels that it is chosen by."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", " ", bare)
    for match in re.finditer(rf"(?<![\w$.])({NAME})(\{{[^}}]*\}})?(?!\s*\()", bare):
        name = match[1]
        if name in {"and", "or", "unless", "bool", "offset"} or re.fullmatch(r"[smhdwy]|\d+\w", name):
            continue
        if name.startswith(("barnraise_", "ray_", "instance:")) or name in FOREIGN:
            yield name, set(re.findall(rf"({NAME})\s*[=!]", match[2] or ""))


def metric_of(name: str) -> Metric | None:
    """The metric that a series belongs to."""
    plain = re.sub(r"_(bucket|sum|count)$", "", name)
    histogram = METRICS.get(plain)
    if plain != name and histogram is not None and histogram.kind == "histogram":
        return histogram
    found = METRICS.get(name)
    return found if found is None or found.kind != "histogram" else None


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_only_metrics_that_exist_are_asked_for_by_labels_that_they_have(where: str, expression: str) -> None:
    found = list(selectors(expression))
    assert found, where
    for name, labels in found:
        if name in RECORDED or name in FOREIGN:
            continue
        metric = metric_of(name)
        assert metric is not None, f"{where}: nothing is called {name}"
        allowed = {*metric.labels, *TARGET_LABELS, *({"le"} if metric.kind == "histogram" else ())}
        assert labels <= allowed, f"{where}: {name} has no {labels - allowed}"


def test_a_wrong_name_would_be_seen() -> None:
    assert list(selectors('sum by (le) (rate(barnraise_nothing{a="b", c!~"x|y"}[5m])) / 2 and on (x) up == 1')) == [
        ("barnraise_nothing", {"a", "c"}),
        ("up", set()),
    ]
    assert metric_of("barnraise_nothing") is None
    assert metric_of("barnraise_merge_seconds") is None  # of a histogram only its parts exist
    assert metric_of("barnraise_updates_sum") is None


def test_every_metric_has_a_panel_or_a_reason() -> None:
    recorded = {rule["record"]: rule["expr"] for rule in rules("recording.yml")}
    shown = set()
    for _, expression in asked():
        for name, _ in selectors(expression):
            inner = selectors(recorded[name]) if name in recorded else [(name, set[str]())]
            shown |= {metric.name for one, _ in inner if (metric := metric_of(one)) is not None}
    assert shown | set(ON_NO_PANEL) == set(METRICS)
    assert not shown & set(ON_NO_PANEL)
    assert all(len(reason) > 10 for reason in ON_NO_PANEL.values())


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboards_are_as_generated(name: str) -> None:
    text = (FOLDER / f"{name}.json").read_text(encoding="ascii")
    assert text == dashboard(name), "run: python -m deploy.grafana.generate"
    value = json.loads(text)
    places = [panel["gridPos"] for panel in value["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)), "panels overlap"
    titles = [panel["title"] for panel in value["panels"]]
    assert len(titles) == len(set(titles))


def test_no_dashboard_is_left_over() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(DASHBOARDS)


# -- alerts and their paragraphs -------------------------------------------------------------


def runbook() -> dict[str, str]:
    """Alert -> its paragraph in docs/operations.md."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="ascii")
    section = text.split("\n## Runbook\n")[1].split("\n## ")[0]
    parts = section.split("\n### ")[1:]
    return {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in parts}


def test_every_alert_has_its_paragraph_and_every_paragraph_its_alert() -> None:
    assert set(runbook()) == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_wrong_and_where_it_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["summary"].endswith(".")
    assert alert["annotations"]["runbook"] == f"docs/operations.md#{alert['alert'].lower()}"
    paragraph = runbook()[alert["alert"]]
    commands = re.findall(r"^    (\S.*)$", paragraph, re.MULTILINE)
    assert commands, "a paragraph names the command that cures it"
    for command in commands:
        words = command.split()
        assert words[0] != "barnraise" or words[1] in COMMANDS, command
    assert len(paragraph.split("\n    ")[0].split()) > 10


# -- pages and files ---------------------------------------------------------------------------


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_metrics_is_true() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="ascii")
    assert script(ROOT / "docs" / "generate_metrics.py").render() == page, "run: python docs/generate_metrics.py"
    for name in METRICS:
        assert page.count(f"`{name}`") + page.count(f"`{name}{{") == 1


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_metrics_are_named_as_is_usual(metric: Metric) -> None:
    assert re.fullmatch(r"barnraise_[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.kind != "histogram" or metric.name.endswith("_seconds")
    assert metric.meaning.endswith(".")
    assert metric.labels or metric.at_most == 1
    assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)


def test_provisioning_and_scrape_files_are_yaml() -> None:
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="ascii"))
    assert {job["job_name"] for job in scraped["scrape_configs"]} == {"barnraise", "ray", "barnraise-node"}
    for path in (ROOT / "deploy" / "grafana" / "provisioning").rglob("*.yml"):
        assert yaml.safe_load(path.read_text(encoding="ascii"))["apiVersion"] == 1
