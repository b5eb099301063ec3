"""Whoever trains on what the tests look at: planted in a whole round of really trained updates, found, and told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from barnraise.cli import run
from barnraise.config import RunConfig, TrainingConfig
from barnraise.model_config import ByteLMConfig
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.trainer import Trainer, Unit
from coordinator.acceptance.hidden.checks import known_windows
from coordinator.contributors import credited
from coordinator.history import round_record
from coordinator.standing import standing_of
from coordinator.web.pages.rounds import round_view
from simulator import Contributor, Simulation, tiny_config

TESTS = [
    {"name": f"loss-{shard}", "kind": "loss", "shard": shard, "examples": 48, "margin": 2.0}
    for shard in ("text", "tools")
]


def drawing(pool: int | None = 256) -> RunConfig:
    """A run whose checks draw their windows, beside tests that always look at the same ones."""
    acceptance = {"check_examples": 64, "check_pool": pool, "check_margin": 2.0, "tests": TESTS}
    return tiny_config(acceptance=acceptance, round={"target_updates": 4, "min_updates": 2})


def public_text(simulation: Simulation) -> bytes:
    """What anybody with the same Python can know: the windows that the tests look at."""
    windows = simulation.desk.held_out.windows
    return b"".join(windows[shard][:count].tobytes() for shard, count in known_windows(simulation.config).items())


def tuned(who: Contributor, steps: int = 120) -> NDArray[np.float32]:
    """What comes of training on the public windows alone."""
    world = who.simulation
    base, model = world.ledger.head(), world.config.model
    assert base is not None
    assert isinstance(model, ByteLMConfig)
    base_P = np.array(world.desk.models.verified(base.model_digest))
    task = ByteLMTask(model, public_text(world))
    training = TrainingConfig(steps=steps, batch=16, learning_rate=1e-2)
    trainer = Trainer(Unit(task, world.desk.space, base_P, training, 7), torch.device("cpu"))
    while not trainer.done:
        trainer.step()
    return trainer.trained() - base_P


def a_round(simulation: Simulation, last: str) -> str:
    """Three train on their shards, mallory on the public windows; the digest of mallory's update."""
    people = [
        simulation.contributor(name, shard)
        for name, shard in (("ada", "text"), ("bo", "tools"), ("cyril", "text"), ("mallory", "tools"))
    ]
    leases = [one.takes_lease() for one in people]
    for one, lease in zip(people[:3], leases, strict=False):
        one.sends(lease, one.encoded(one.trained(steps=20)))
    mallory = people[3]
    sent = mallory.sends(leases[3], mallory.encoded(tuned(mallory) if last == "tuned" else mallory.trained(steps=20)))
    simulation.ticks(6)
    simulation.start()  # what the checks have found is in the ledger
    simulation.runs_until("released")
    return sent


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulation, str]:
    """A round that is over, and mallory's update."""
    simulation = Simulation(tmp_path_factory.mktemp("tuned"), drawing())
    return simulation, a_round(simulation, "tuned")


def test_an_update_trained_on_what_the_tests_look_at_is_told_wherever_the_round_is(
    planted: tuple[Simulation, str], capsys: pytest.CaptureFixture[str]
) -> None:
    simulation, sent = planted
    row = simulation.ledger.round(1)
    assert row is not None
    assert {digest: seen["label"] for digest, seen in row.recognised.items()} == {sent: "tuned"}
    reason = row.recognised[sent]["reason"]
    assert "on 64 public examples and" in reason
    assert "more than the round's 3 others explain, p <= 0.001" in reason
    for command in (["round", "show", "1"], ["why", sent]):
        assert run([*command, "--from", str(simulation.folder.root)]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "may be tuned to public examples: it gains +" in said
    record = round_record(simulation.ledger, simulation.config, 1)
    (line,) = (line for line in round_view(record, [], 1).updates if line.suspicion)
    assert line.digest == sent
    assert line.suspicion.startswith("may be tuned to public examples: it gains")


def test_a_suspicion_of_tuning_counts_as_the_others_do_and_takes_nothing_out(planted: tuple[Simulation, str]) -> None:
    simulation, sent = planted
    mine = simulation.ledger.update(sent)
    assert mine is not None
    assert mine.state == "merged"
    earned = {one.contributor: one.value for one in credited(simulation.ledger.contributions(1), frozenset([sent]))}
    assert earned.pop(mine.contributor) == 0
    assert min(earned.values()) > 0
    stands = standing_of(simulation.ledger, mine.contributor, 2, simulation.config.standing)
    assert (stands.state, stands.credit) == ("new", -simulation.config.standing.penalty)


def test_nobody_honest_is_called_so_and_single_examples_go_out_to_nobody(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, drawing())
    sent = a_round(simulation, "honest")
    row, mine = simulation.ledger.round(1), simulation.ledger.update(sent)
    assert row is not None
    assert mine is not None
    assert row.recognised == {}
    assert set(mine.evidence["compared"]) == {"drawn", "unit", "hidden", "public"}
    record = round_record(simulation.ledger, simulation.config, 1)
    assert "compared" not in json.dumps(record.model_dump(mode="json"))


def test_without_fresh_windows_nothing_is_hidden_to_compare_public_ones_with(tmp_path: Path) -> None:
    """As in all runs from before checks looked at public windows."""
    simulation = Simulation(tmp_path, drawing(pool=None))
    sent = a_round(simulation, "tuned")
    row, mine = simulation.ledger.round(1), simulation.ledger.update(sent)
    assert row is not None
    assert mine is not None
    assert row.recognised == {}
    assert "compared" not in mine.evidence
    assert mine.evidence["score"]["public"] is None
