"""Signatures are made anew while nothing is released: by the conductor's tick, when half of their life is over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from barnraise.releases.repository import Repository
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import read_index
from simulator import Simulation, tiny_config

HOUR_S = 3600


def timestamp(simulation: Simulation) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((simulation.folder.public / "metadata" / "timestamp.json").read_bytes())[
        "signed"
    ]
    return value


def test_a_quiet_run_stays_signed(tmp_path: Path) -> None:
    quiet = tiny_config(round={"target_updates": 3, "min_updates": 2, "collect_for_s": 10**9, "lease_for_s": 60})
    simulation = Simulation(tmp_path, quiet)
    simulation.folder.config.write_text("")
    begun = timestamp(simulation)
    simulation.passes(11 * HOUR_S)
    simulation.ticks(3)
    assert timestamp(simulation) == begun
    versions = []
    for _ in range(10):
        simulation.passes(2 * HOUR_S)
        simulation.ticks()
        versions.append(timestamp(simulation)["version"])
    assert sorted(versions) == versions
    assert len(set(versions)) == 2, "after 12 hours and after 24, and no oftener"
    assert versions[0] > begun["version"]
    releases = read_index(FolderSource(tmp_path)).index.releases
    assert [entry.version for entry in releases] == ["0.1.0"]


def test_metadata_that_was_removed_is_published_anew(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    simulation.folder.config.write_text("")
    for path in (simulation.folder.public / "targets").iterdir():
        path.unlink()
    simulation.passes(13 * HOUR_S)
    simulation.ticks(2)
    assert [entry.version for entry in read_index(FolderSource(tmp_path)).index.releases] == ["0.1.0"]


def test_a_coordinator_that_was_stopped_for_long_signs_when_it_starts(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    begun = timestamp(simulation)
    simulation.passes(40 * 24 * HOUR_S)
    simulation.start()
    now = timestamp(simulation)
    assert now["version"] > begun["version"]
    assert now["expires"] > begun["expires"]
    assert Repository(simulation.folder).renew(simulation.clock()) > simulation.clock()
    assert timestamp(simulation) == now
