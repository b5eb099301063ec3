"""What a suite does to a run: rounds wait for one that cannot be run, and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from barnraise.config import RunConfig
from barnraise.digest import digest_bytes
from coordinator.conductor.desk import Desk
from simulator import Simulation, tiny_config

TEXTS = b"".join(json.dumps({"text": f"value_{n} = first + {n}\n"}).encode() + b"\n" for n in range(24))
DIGEST = digest_bytes(TEXTS)


def with_data(hidden: bool = False, **test: Any) -> RunConfig:
    """A run whose suite has a data set."""
    acceptance = {
        "check_examples": 16,
        "check_margin": 0.5,
        "data": {"lines": {"path": "lines.jsonl", "digest": DIGEST, "hidden": hidden}},
        "tests": [{"name": "loss-lines", "kind": "loss", "data": "lines", "examples": 24, "margin": 0.2, **test}],
    }
    return tiny_config(acceptance=acceptance)


def begun(root: Path, config: RunConfig) -> Simulation:
    """A run with its data set in the store, as ``barnraise serve`` puts it there."""
    desk = Desk(root, config, "")
    (desk.private if config.acceptance.data["lines"].hidden else desk.public).put(TEXTS)
    return Simulation(root, config)


def three_deliver(simulation: Simulation) -> None:
    for name, shard in (("ada", "text"), ("bo", "tools"), ("cy", "text")):
        simulation.contributor(name, shard).delivers()


@pytest.mark.parametrize("hidden", [False, True])
def test_a_data_set_decides_as_a_shard_does(tmp_path: Path, hidden: bool) -> None:
    simulation = begun(tmp_path, with_data(hidden))
    three_deliver(simulation)
    simulation.runs_until("released")
    release = simulation.ledger.head()
    assert release is not None
    assert release.summary["loss-lines"]["n"] == 24
    assert release.summary["loss-lines"]["mean"] < release.summary["loss-lines"]["base_mean"]
    assert simulation.desk.public.has(DIGEST) is not hidden


def test_a_round_waits_while_its_data_are_missing_and_goes_on_when_they_are_back(tmp_path: Path) -> None:
    simulation = begun(tmp_path, with_data())
    three_deliver(simulation)
    simulation.desk.public.delete(DIGEST)
    simulation.start()  # without what it had read
    simulation.ticks(60)
    current = simulation.ledger.current_round()
    assert current is not None
    assert current.phase == "testing"
    assert current.reason.startswith("the suite cannot be run, trying again in 1 min: ")
    simulation.desk.public.put(TEXTS)
    simulation.ticks(60)
    assert simulation.ledger.release("0.1.1") is None, "it was tried again too early"
    simulation.passes(61)
    simulation.runs_until("released")
    assert {row.state for row in simulation.ledger.updates(round=1)} == {"merged"}


def test_a_restart_tries_again_at_once(tmp_path: Path) -> None:
    simulation = begun(tmp_path, with_data())
    three_deliver(simulation)
    simulation.desk.public.delete(DIGEST)
    simulation.start()
    simulation.ticks(60)
    simulation.desk.public.put(TEXTS)
    simulation.start()
    simulation.runs_until("released")


def test_a_suite_in_batches_releases_too(tmp_path: Path) -> None:
    simulation = begun(tmp_path, with_data(sequential=True, margin=0.5))
    three_deliver(simulation)
    simulation.runs_until("released")
    release = simulation.ledger.head()
    assert release is not None
    told = release.summary["loss-lines"]
    assert told["method"] == "e-process"
    assert 0 < told["n"] <= 24
