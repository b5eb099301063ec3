"""Rounds whose updates and patches say one of four elements, others each round."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load

from barnraise.cli import run
from barnraise.config import RunConfig
from barnraise.errors import VerificationError
from barnraise.message import BlobRef
from barnraise.releases.pull import pull
from barnraise.releases.source import FolderSource
from barnraise.updates import Turn, Update, apply_update, asked_carrier
from barnraise.updates.scope import Scope
from contributor.unit import Wanted, finish_unit
from coordinator.conductor import replay
from coordinator.ledger import ReleaseRow
from coordinator.orders import Revert
from coordinator.orders.placing import append
from coordinator.recompute import recompute
from coordinator.remerge import Known, PastMerge
from simulator import Contributor, Simulation, tiny_config

TURNS = 4
SHARDS = {"ada": "text", "barbara": "tools", "grace": "text"}
ONE_BIT, FOUR_BITS, DENSE = ({"name": "blockwise", "bits": 1}, {"name": "blockwise", "bits": 4}, {"name": "dense"})
LENIENT = {
    "check_examples": 16,
    "check_margin": 60.0,
    "tests": [{"name": "loss-text", "kind": "loss", "shard": "text", "examples": 24, "margin": 60.0}],
}
STEP = {"outer": {"name": "outer-nesterov", "learning_rate": 2.0, "momentum": 0.5}}


@pytest.fixture(autouse=True)
def _no_key_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


def in_turn(turns: int = TURNS, **changes: Any) -> RunConfig:
    settings: dict[str, Any] = {
        "update": {"codec": ONE_BIT, "turns": turns},
        "release": {"codec": FOUR_BITS, "turns": turns},
        "acceptance": LENIENT,
        "merge": STEP,
    }
    return tiny_config(**(settings | changes))


def round_of(simulation: Simulation, version: str) -> dict[str, str]:
    """A round of all three; who sent what."""
    sent = {name: simulation.contributor(name, shard).delivers() for name, shard in SHARDS.items()}
    simulation.runs_until_tagged(version)
    return sent


def row_of(simulation: Simulation, version: str) -> ReleaseRow:
    row = simulation.ledger.release(version)
    assert row is not None
    return row


def model_of(simulation: Simulation, version: str) -> NDArray[np.float32]:
    return np.array(simulation.desk.models.verified(row_of(simulation, version).model_digest))


def patch_of(simulation: Simulation, version: str) -> Update:
    patch = row_of(simulation, version).patch
    assert patch is not None
    return Update.parse(simulation.desk.public.read(patch["digest"]), simulation.desk.space, base_digest=None)


def decoded(update: Update) -> NDArray[np.float32]:
    return np.concatenate([update.decode(segment) for segment in range(update.space.segment_count)])


def turn_of(simulation: Simulation, number: int) -> NDArray[np.bool_]:
    """Which elements have their turn, bool [P]."""
    turns = simulation.config.update.turns
    assert turns is not None
    turn = Turn(simulation.desk.space, turns, number)
    ones = np.ones(turn.space.size, dtype=np.float32)
    whole = np.zeros(turn.whole.size, dtype=np.float32)
    turn.put(ones, whole)
    return whole == 1


def test_a_cycle_of_releases_moves_every_element_once_and_strangers_find_the_same(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path / "run", in_turn(2))
    moved = {}
    for number in range(1, 4):
        sent = round_of(simulation, f"0.1.{number}")
        before, after = (model_of(simulation, f"0.1.{at}") for at in (number - 1, number))
        mine_P = turn_of(simulation, number)
        assert np.array_equal(before[~mine_P], after[~mine_P])
        patch = patch_of(simulation, f"0.1.{number}")
        assert patch.carrier is not None
        assert (patch.scope.turns, patch.scope.turn) == (2, number)
        assert np.array_equal(apply_update(before, patch), after)
        moved[number] = decoded(patch) != 0
        for digest in sent.values():
            update = Update.parse(simulation.desk.private.read(digest), simulation.desk.space, base_digest=None)
            assert update.scope == patch.scope
    assert not np.any(moved[2] & moved[3])  # a cycle, after a round that was the second half of another
    assert np.mean(moved[2] | moved[3]) > 0.75  # the rest stands for bytes that nobody has seen
    simulation.ticks()
    found = recompute(FolderSource(simulation.folder.root), "0.1.3")
    assert [one.patch_digest for one in found] == [patch_of(simulation, one.version).digest for one in found]
    pulled = pull(FolderSource(simulation.folder.root), "tiny@0.1.3", tmp_path / "model")
    assert pulled.version == "0.1.3"


def test_what_has_not_had_its_turn_waits_and_nothing_is_lost(tmp_path: Path) -> None:
    """Model and residual together are what they are where every patch says everything exactly."""
    whole = {"update": {"codec": DENSE, "turns": TURNS}}
    straight = Simulation(tmp_path / "straight", in_turn(**whole, release={"codec": DENSE}))
    patient = Simulation(tmp_path / "patient", in_turn(**whole, release={"codec": DENSE, "turns": TURNS * 2}))
    straight.ticks()
    draws, first = np.random.default_rng(0), model_of(straight, "0.1.0")
    for number in range(1, 4):
        noise = {name: draws.standard_normal(straight.desk.space.size).astype(np.float32) * 1e-3 for name in SHARDS}
        for simulation in (straight, patient):
            for name, shard in SHARDS.items():
                somebody = simulation.contributor(name, shard)
                somebody.sends(somebody.takes_lease(), somebody.encoded(noise[name]))
            simulation.runs_until_tagged(f"0.1.{number}")
    last, late = model_of(straight, "0.1.3"), model_of(patient, "0.1.3")
    assert not np.array_equal(last, late)
    residual_P = residual_of(patient)
    assert np.count_nonzero(residual_P) > 0.5 * np.count_nonzero(last - first)
    np.testing.assert_allclose(late + residual_P, last, rtol=0, atol=1e-6)
    assert not residual_of(straight).any()


def residual_of(simulation: Simulation) -> NDArray[np.float32]:
    head = simulation.ledger.head()
    assert head is not None
    assert head.state_digest is not None
    found: NDArray[np.float32] = load(simulation.desk.private.read(head.state_digest))["residual"]
    return found


def test_an_update_in_the_turn_of_another_round_is_refused(tmp_path: Path) -> None:
    """Whatever its envelope says: those of a round meet in the same elements."""
    simulation = Simulation(tmp_path, in_turn())
    mallory = simulation.contributor("mallory")
    wrong = mallory.sends(mallory.takes_lease(), in_round(mallory, 2))
    rounds = simulation.contributor("eve")
    whole = rounds.sends(rounds.takes_lease(), in_round(rounds, None))
    round_of(simulation, "0.1.1")
    reasons = {}
    for digest in (wrong, whole):
        row = simulation.ledger.update(digest)
        assert row is not None
        assert (row.state, row.evidence["code"]) == ("rejected", "unsupported-format")
        reasons[digest] = row.reason
    asks = "the run asks for updates of elements in turn 1, one of 4, this file is of"
    assert reasons[wrong] == f"{asks} elements in turn 2, one of 4; leave and join again"
    assert reasons[whole] == f"{asks} all tensors; leave and join again"


def in_round(somebody: Contributor, number: int | None) -> bytes:
    """Noise as an update of a round, or of all elements."""
    world = somebody.simulation
    base = world.ledger.head()
    assert base is not None
    space, codec = world.desk.space, world.config.update.codec
    carrier = None if number is None else asked_carrier(space, world.config.update, turn=number)
    return finish_unit(Wanted(space, base.model_digest, codec, carrier), somebody.noise()).data


def test_without_an_update_every_later_round_is_merged_again_in_its_own_turn(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, in_turn())
    sent = [round_of(simulation, f"0.1.{number}") for number in (1, 2, 3)]
    order_id = append(simulation.ledger, Revert((sent[0]["ada"],), "it lies"), simulation.clock())
    simulation.runs_until_tagged("0.1.4")
    order = simulation.ledger.order(order_id)
    assert order is not None
    assert order.done, order.reason
    before, after = model_of(simulation, "0.1.3"), model_of(simulation, "0.1.4")
    never_P = ~(turn_of(simulation, 1) | turn_of(simulation, 2) | turn_of(simulation, 3))
    assert not np.array_equal(before, after)
    assert np.array_equal(before[never_P], after[never_P])
    simulation.ticks()
    *_, last = recompute(FolderSource(simulation.folder.root), "0.1.4")
    assert last.model_digest == row_of(simulation, "0.1.4").model_digest
    round_of(simulation, "0.1.5")
    assert patch_of(simulation, "0.1.5").scope.turn == 4


def test_a_round_tells_whose_turn_it_was_and_that_meeting_there_is_no_copying(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation = Simulation(tmp_path, in_turn())
    round_of(simulation, "0.1.1")
    row = simulation.ledger.round(1)
    assert row is not None
    assert row.merge is not None
    assert row.merge["turns"] == {"updates": TURNS, "patch": TURNS}
    overall = row.merge["conflicts"]["overall"]
    assert overall["overlap"] > 0.99
    assert overall["expected_overlap"] == pytest.approx(overall["overlap"], abs=0.01)
    assert row.merge["recognised"] == {}
    assert run(["round", "show", "1", "--from", str(tmp_path)]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "merged by mean; outer rule outer-nesterov; one of 4 elements had its turn" in words


def test_a_copy_is_recognised_though_all_updates_change_the_same_elements(tmp_path: Path) -> None:
    rounds = {"target_updates": 4, "min_updates": 2, "collect_for_s": 60, "lease_for_s": 60}
    simulation = Simulation(tmp_path, in_turn(round=rounds))
    ada = simulation.contributor("ada")
    lease_id, theirs_P = ada.takes_lease(), ada.trained()
    ada.sends(lease_id, ada.encoded(theirs_P))
    for name in ("barbara", "grace"):
        simulation.contributor(name, SHARDS[name]).delivers()
    simulation.clock.now_ms += 1
    mallory = simulation.contributor("mallory")
    copied = mallory.sends(mallory.takes_lease(), mallory.encoded(np.float32(0.7) * theirs_P))
    simulation.runs_until_tagged("0.1.1")
    row = simulation.ledger.round(1)
    assert row is not None
    assert row.merge is not None
    assert {digest: found["label"] for digest, found in row.merge["recognised"].items()} == {copied: "copy"}


def test_a_round_that_cannot_be_is_not_recomputed() -> None:
    blob = BlobRef(digest="b3:" + "0" * 64, size_bytes=1)
    merge = PastMerge("0.1.1", blob.digest, (), 0, blob, 1 << 31)
    with pytest.raises(VerificationError, match="is said to be of round 2,147,483,648"):
        replay.replay_job(merge, in_turn(), Known("0.1.0", (), blob.digest, None))


def test_the_number_of_the_round_decides_which_elements_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recomputing takes it from the manifest; with another one the same updates make another release."""
    simulation = Simulation(tmp_path, in_turn())
    round_of(simulation, "0.1.1")
    simulation.ticks()
    honest = replay.replay_job

    def shifted(*told: Any) -> Any:
        job = honest(*told)
        return replace(job, patch=Scope.in_turn(job.patch.turns, told[0].round + 1))

    monkeypatch.setattr(replay, "replay_job", shifted)
    with pytest.raises(VerificationError, match="do not trust this release"):
        recompute(FolderSource(simulation.folder.root), "0.1.1")
