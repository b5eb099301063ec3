"""Write deploy/grafana/dashboards/*.json: four dashboards, from what panels.py says.

    python -m deploy.grafana.generate           writes them
    python -m deploy.grafana.generate --check   says whether they are up to date

What they show is in panels.py; what Grafana wants around that is added here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.grafana.panels import DASHBOARDS, Panel

FOLDER = Path(__file__).with_name("dashboards")
COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${source}"}


def asked() -> Iterator[tuple[str, str]]:
    """Every question of every panel, with the panel's name."""
    for name, (_, panels) in DASHBOARDS.items():
        for panel in panels:
            for expression, _ in panel.asks:
                yield f"{name}: {panel.title}", expression


def dashboard(name: str) -> str:
    """One dashboard as Grafana's JSON."""
    title, panels = DASHBOARDS[name]
    value = {
        "uid": f"barnraise-{name}",
        "title": title,
        "tags": ["barnraise"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "",
        "templating": {"list": [_source(), _instance()]},
        "links": [
            {"type": "dashboards", "tags": ["barnraise"], "title": "Barnraise", "asDropdown": False, "keepTime": True}
        ],
        "panels": list(_placed(panels)),
    }
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _placed(panels: tuple[Panel, ...]) -> Iterator[dict[str, Any]]:
    """Panels from left to right, a new line where one does not fit."""
    x = y = tallest = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.wide > COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        yield _panel(number, panel, {"x": x, "y": y, "w": panel.wide, "h": panel.tall})
        x, tallest = x + panel.wide, max(tallest, panel.tall)


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend or "__auto", "datasource": SOURCE}
        for index, (expression, legend) in enumerate(panel.asks)
    ]
    if panel.kind in {"table", "stat"}:
        for target in targets:
            target["instant"] = True
    if panel.kind == "table":
        for target in targets:
            target["format"] = "table"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": targets,
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
    }


def _field(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [] if panel.red is None else [{"color": "red", "value": panel.red}]
    field: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        field["custom"] = {"fillOpacity": 30 if panel.stacked else 8, "stacking": stacking, "lineWidth": 1}
    return field


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        named = panel.asks[0][1] != ""
        return {"textMode": "name" if named else "value", "reduceOptions": {"calcs": ["lastNotNull"]}}
    if panel.kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return {}


def _source() -> dict[str, Any]:
    return {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}


def _instance() -> dict[str, Any]:
    return {
        "name": "instance",
        "type": "query",
        "label": "Coordinator",
        "datasource": SOURCE,
        "query": "label_values(barnraise_build_info, instance)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
    }


def main(arguments: list[str]) -> int:
    stale = []
    FOLDER.mkdir(exist_ok=True)
    for name in DASHBOARDS:
        path, text = FOLDER / f"{name}.json", dashboard(name)
        if not path.exists() or path.read_text(encoding="ascii") != text:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(text, encoding="ascii")
    if stale and "--check" in arguments:
        print(f"out of date: {', '.join(stale)}; run: python -m deploy.grafana.generate")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
