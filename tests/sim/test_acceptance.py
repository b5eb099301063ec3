"""What a suite does to a run: rounds wait for one that cannot be run, and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.cli import run
from barnraise.config import RunConfig
from barnraise.digest import digest_bytes
from coordinator.acceptance.hidden.drawing import check_record
from coordinator.acceptance.updates.contribution import UpdateScore
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


def drawing(**test: Any) -> RunConfig:
    """A run that draws 12 of its 24 hidden examples every round."""
    return with_data(hidden=True, examples=12, pool=24, margin=3.0, **test)


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


def draws_of(simulation: Simulation) -> list[dict[str, Any]]:
    verdicts = [row.verdict for row in simulation.ledger.rounds()]
    return [verdict["draws"] for verdict in verdicts if verdict is not None]


def places(draws: dict[str, Any]) -> list[int]:
    found: list[int] = draws["tests"]["loss-lines"]["places"]
    return found


def test_every_round_draws_its_own_hidden_examples_as_it_had_committed_to(tmp_path: Path) -> None:
    simulation = begun(tmp_path, drawing(uses=9))
    for version in ("0.1.1", "0.1.2", "0.1.3"):
        three_deliver(simulation)
        simulation.runs_until_tagged(version)
    drawn = draws_of(simulation)
    assert len({tuple(places(draws)) for draws in drawn}) == 3
    assert all(len(set(places(draws))) == 12 for draws in drawn)
    anchor = simulation.desk.chain.anchor.hex()
    for number, draws in enumerate(drawn, 1):
        assert all(check.holds for check in check_record(anchor, number, draws))
        moved = {"loss-lines": {**draws["tests"]["loss-lines"], "places": sorted(places(draws))}}
        assert not any(check.holds for check in check_record(anchor, number, {**draws, "tests": moved}))
        assert not any(check.holds for check in check_record(anchor, number % 3 + 1, draws))


def test_a_pool_that_is_used_up_keeps_the_round_waiting(tmp_path: Path) -> None:
    simulation = begun(tmp_path, drawing(uses=1))
    for version in ("0.1.1", "0.1.2"):
        three_deliver(simulation)
        simulation.runs_until_tagged(version)
    first, second = draws_of(simulation)
    assert sorted(places(first) + places(second)) == list(range(24)), "no example was used twice"
    three_deliver(simulation)
    simulation.ticks(60)
    current = simulation.ledger.current_round()
    assert current is not None
    assert current.phase == "testing"
    assert "used up, rotate it" in current.reason


def test_a_crash_draws_the_same_again(tmp_path: Path) -> None:
    """Wherever the conductor ends while it tests, the round ends with the draw that its number gives."""
    whole = begun(tmp_path / "whole", drawing(uses=9))
    three_deliver(whole)
    whole.runs_until("released")
    for ticks in (8, 10, 12):
        crashed = begun(tmp_path / str(ticks), drawing(uses=9))
        three_deliver(crashed)
        crashed.ticks(ticks)
        crashed.start()
        crashed.runs_until("released")
        assert draws_of(crashed) == draws_of(whole)


def test_anyone_can_check_a_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulation = begun(tmp_path, drawing(uses=9))
    three_deliver(simulation)
    simulation.runs_until("released")
    assert run(["round", "check", "1", "--from", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "test loss-lines of round 1: 12 of 24 places, drawn with the seed that was committed to" in said
    assert run(["round", "show", "1", "--from", str(tmp_path)]) == 0
    assert "12 of 24 hidden examples for loss-lines" in capsys.readouterr().out


def test_a_round_without_draws_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulation = begun(tmp_path, with_data())
    three_deliver(simulation)
    simulation.runs_until("released")
    assert run(["round", "check", "1", "--from", str(tmp_path)]) == 2
    assert "drew no hidden examples" in capsys.readouterr().err


def test_every_update_is_scored_and_who_sends_another_ones_is_recognised(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, tiny_config())
    ada, bo, copycat = (simulation.contributor(name) for name in ("ada", "bo", "copycat"))
    leases = [one.takes_lease() for one in (ada, bo, copycat)]
    delta_P = ada.trained()
    ada.sends(leases[0], ada.encoded(delta_P))
    bo.shard = "tools"
    bo.sends(leases[1], bo.encoded(bo.trained(steps=5)))
    simulation.passes(1)
    copied = copycat.sends(leases[2], copycat.encoded(delta_P * np.float32(0.9)))
    simulation.runs_until("released")
    for row in simulation.ledger.updates(round=1):
        assert row.evidence is not None
        score = UpdateScore.from_json(row.evidence["score"])
        assert (score.hidden.examples, score.own is not None) == (16, True)
        assert score.value > 0
    record = simulation.ledger.round(1)
    assert record is not None
    assert record.merge is not None
    assert {digest: row["label"] for digest, row in record.merge["recognised"].items()} == {copied: "copy"}
