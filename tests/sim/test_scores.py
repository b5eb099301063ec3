"""What scores decide in a whole run: weights where the run says so, and who is held back for what came before."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from barnraise.config import RunConfig
from barnraise.errors import ConfigValueError
from barnraise.releases.manifest import MergedUpdate, read_manifest
from barnraise.releases.source import FolderSource
from coordinator.ledger import UpdateRow
from coordinator.recompute import recompute
from simulator import Simulation, tiny_config

ROUNDS = {"target_updates": 3, "min_updates": 2, "collect_for_s": 60, "settle_for_s": 5, "lease_for_s": 60}
STRICT = {"enforce": True, "suspend_at": -1, "penalty": 2, "suspended_rounds": 2, "new_for": 1}


def row_of(simulation: Simulation, digest: str) -> UpdateRow:
    row = simulation.ledger.update(digest)
    assert row is not None
    return row


def released(simulation: Simulation, version: str, *shares: float) -> list[str]:
    """A round of ada, barbara and mallory, who send so much of what they trained; their updates."""
    simulation.ticks()
    people = zip(("ada", "barbara", "mallory"), shares, strict=True)
    sent = [simulation.contributor(name).delivers(partial(np.multiply, np.float32(share))) for name, share in people]
    simulation.ticks()
    simulation.passes(6)
    simulation.runs_until_tagged(version)
    return sent


def merged_in(simulation: Simulation, version: str) -> dict[str, MergedUpdate]:
    release = simulation.ledger.release(version)
    assert release is not None
    manifest = read_manifest(simulation.desk.public.read(release.manifest_digest), version)
    return {update.digest: update for update in manifest.updates}


def test_weights_follow_scores_within_their_bound_and_anybody_can_compute_them_again(tmp_path: Path) -> None:
    config = tiny_config(merge={"weight_by": "scores", "weight_bound": 4.0})
    simulation = Simulation(tmp_path, config)
    sent = released(simulation, "0.1.1", 1.0, 0.5, 0.01)
    merged = merged_in(simulation, "0.1.1")
    weights = [merged[digest].weight for digest in sent]
    scores = [row_of(simulation, digest).evidence["score"]["value"] for digest in sent]
    by_score = [weight for _, weight in sorted(zip(scores, weights, strict=True))]
    assert by_score == sorted(weights)
    assert weights[0] > weights[2]
    assert max(weights) <= 4.0 * min(weights) * 1.1  # they are rounded to sixteenths
    assert all((16 * weight).is_integer() for weight in weights)
    (again,) = recompute(FolderSource(simulation.folder.root), "0.1.1")
    assert again.version == "0.1.1"


def test_who_sent_poison_is_measured_and_not_merged_for_some_rounds(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, tiny_config(standing=STRICT, round=ROUNDS))
    poison = released(simulation, "0.1.1", 1.0, 0.9, -200.0)[2]
    assert row_of(simulation, poison).state == "rejected"
    held = released(simulation, "0.1.2", 1.0, 0.9, 0.8)[2]
    row = row_of(simulation, held)
    assert row.state == "unmerged"
    assert "suspended until round 4" in (row.reason or "")
    assert "score" in row.evidence
    released(simulation, "0.1.3", 1.0, 0.9, 0.8)
    free = released(simulation, "0.1.4", 1.0, 0.9, 0.8)[2]
    assert row_of(simulation, free).state == "merged"


def test_without_a_word_of_the_run_nobody_is_held_back(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, tiny_config(round=ROUNDS))
    released(simulation, "0.1.1", 1.0, 0.9, -200.0)
    assert row_of(simulation, released(simulation, "0.1.2", 1.0, 0.9, 0.8)[2]).state == "merged"


# -- fresh windows for the checks -------------------------------------------------------------------------


def pooled(pool: int | None) -> RunConfig:
    config = tiny_config()
    return config.model_copy(update={"acceptance": config.acceptance.model_copy(update={"check_pool": pool})})


def test_every_round_checks_on_windows_of_its_own_and_the_same_round_on_the_same(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, pooled(48))
    desk, again = simulation.desk, Simulation(tmp_path, pooled(48)).desk
    drawn = {number: desk.check_examples("text", desk.check_seed(number)).hidden for number in (1, 2, 3)}
    assert len({examples.digest for examples in drawn.values()}) == 3
    assert {len(examples) for examples in drawn.values()} == {16}
    for number, examples in drawn.items():
        repeated = again.check_examples("tools", again.check_seed(number)).hidden
        assert repeated.digest == examples.digest
        assert repeated.windows is not None
        assert examples.windows is not None
        assert np.array_equal(repeated.windows, examples.windows)
        assert len(np.unique(examples.windows, axis=0)) == 16  # none comes twice
    own = {desk.check_examples("text", desk.check_seed(number)).own.digest for number in (1, 2, 3)}
    assert len(own) == 3


def test_without_a_pool_all_rounds_check_on_the_same_windows(tmp_path: Path) -> None:
    desk = Simulation(tmp_path, pooled(None)).desk
    assert desk.check_seed(1) is desk.check_seed(2) is None
    always, again = (desk.check_examples("text", seed) for seed in (None, desk.check_seed(7)))
    assert (always.compared, always.own.digest) == (again.compared, again.own.digest)


def test_a_run_with_a_pool_rejects_poison_and_releases_the_rest(tmp_path: Path) -> None:
    config = pooled(48).model_copy(update={"round": tiny_config(round=ROUNDS).round})
    simulation = Simulation(tmp_path, config)
    sent = released(simulation, "0.1.1", 1.0, 0.9, -200.0)
    assert [row_of(simulation, digest).state for digest in sent] == ["merged", "merged", "rejected"]


def test_a_pool_smaller_than_a_draw_is_refused() -> None:
    with pytest.raises(ConfigValueError, match="check_pool 8 is fewer"):
        tiny_config(acceptance=tiny_config().acceptance.model_dump(mode="json") | {"check_pool": 8})
