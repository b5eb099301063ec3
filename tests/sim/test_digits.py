"""A whole round of telling pictures apart: from leases to a release that a consumer can use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import barnraise
from barnraise.config import RunConfig, bundled_config, load_run_config, parse_run_config
from barnraise.errors import ConfigValueError
from coordinator.rehearsal import require_mergeable, require_testable
from merge.architectures import build
from simulator import Simulation


def digits(**changes: Any) -> RunConfig:
    """The ready-made run with a smaller model, whose rounds take three."""
    config = load_run_config(bundled_config("digits"))
    rounds = config.round.model_copy(update={"target_updates": 3})
    return config.model_copy(update={"model": config.model.model_copy(update={"width": 8}), "round": rounds, **changes})


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Three contributors of different digits, and somebody who turns training around."""
    simulation = Simulation(tmp_path_factory.mktemp("run"), digits())
    simulation.contributor("mallory", "low").delivers(lambda delta_P: np.float32(-60.0) * delta_P)
    for name, shard in (("ada", "low"), ("barbara", "high"), ("grace", "around")):
        simulation.contributor(name, shard).delivers()
    simulation.runs_until("released")
    return simulation


def test_the_ready_made_run_can_be_run() -> None:
    config = load_run_config(bundled_config("digits"))
    require_mergeable(config)
    require_testable(config)


def test_a_round_becomes_a_release_that_is_better_at_every_shard(released: Simulation) -> None:
    first, second = released.ledger.releases()
    assert (first.version, second.version) == ("0.1.0", "0.1.1")
    assert all(row["passed"] for row in second.summary.values())
    assert second.summary["loss-low"]["effect"] < -0.5
    assert second.summary["loss-low"]["unit"] == "bits/answer"
    assert second.summary["right-low"]["unit"] == "share"


def test_an_update_that_undoes_training_is_found_by_its_answers(released: Simulation) -> None:
    (rejected,) = [row for row in released.ledger.updates() if row.state == "rejected"]
    assert rejected.found_by == "check"
    assert "bits/answer" in rejected.reason
    assert {row.state for row in released.ledger.updates()} == {"rejected", "merged"}


def test_a_consumer_pulls_it_and_asks_it(released: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = barnraise.pull("digits@^0.1", into=tmp_path / "model", source=released.folder.root)
    assert done.version == "0.1.1"
    card = (tmp_path / "model" / "README.md").read_text()
    for said in ("pipeline_tag: image-classification", "module.load_state_dict(dict(weights))", "- low: 0, 1, 2"):
        assert said in card
    assert "transformers" not in card
    weights = barnraise.load(tmp_path / "model", framework="torch")
    assert weights.architecture == released.config.model
    module = build(weights.architecture).eval()
    module.load_state_dict(dict(weights))
    examples = torch.from_numpy(released.desk.held_out.windows["low"][:120])
    with torch.inference_mode():
        right = (module(examples[:, :-1]).argmax(dim=1) == examples[:, -1]).double().mean()
    newest = released.ledger.newest_release()
    assert newest is not None
    assert float(right) == newest.summary["right-low"]["mean"]  # the same model says the same


def test_a_test_of_text_is_refused_before_the_run_starts() -> None:
    config = digits()
    value = config.model_dump(mode="json")
    for change, said in (
        ({"kind": "robustness", "options": {}}, "robustness, which is about text"),
        ({"kind": "loss", "options": {}}, 'loss per byte, of image-classifier it is per "answer"'),
    ):
        first, *_ = value["acceptance"]["tests"]
        tests = {**value["acceptance"], "tests": [{**first, **change}]}
        with pytest.raises(ConfigValueError, match=said):
            require_testable(parse_run_config({**value, "acceptance": tests}, source="a test"))
