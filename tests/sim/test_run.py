"""Whole rounds in one process, told as stories."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from barnraise.errors import ConfigValueError, UnknownStrategyError
from barnraise.releases.source import FolderSource
from barnraise.update_config import CodecConfig
from barnraise.updates import Update, apply_update
from coordinator.ledger import UpdateRow
from coordinator.ledger.events import RoundMerged
from coordinator.recompute import recompute
from laws import moments
from merge.strategies import FedAdam
from simulator import Simulation, tiny_config


def update_of(simulation: Simulation, digest: str) -> UpdateRow:
    row = simulation.ledger.update(digest)
    assert row is not None
    return row


def three_deliver(simulation: Simulation) -> list[str]:
    shards = {"ada": "text", "barbara": "tools", "grace": "text"}
    return [simulation.contributor(name, shard).delivers() for name, shard in shards.items()]


def test_three_updates_become_a_release_that_is_better(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    digests = three_deliver(simulation)
    simulation.runs_until("released")
    first, second = simulation.ledger.releases()
    assert (first.version, second.version) == ("0.1.0", "0.1.1")
    assert all(row["passed"] and row["effect"] < 0 for row in second.summary.values())
    assert {update_of(simulation, digest).state for digest in digests} == {"merged"}
    assert simulation.ledger.channels() == {"nightly": "0.1.1"}


def test_a_release_is_its_parent_plus_its_patch_bit_for_bit(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    base = simulation.ledger.newest_release()
    assert base is not None
    base_P = np.array(simulation.desk.models.verified(base.model_digest))
    three_deliver(simulation)
    simulation.runs_until("released")
    new = simulation.ledger.newest_release()
    assert new is not None
    assert new.patch is not None
    patch = Update.parse(simulation.desk.public.read(new.patch["digest"]), simulation.desk.space, base_digest=None)
    assert np.array_equal(apply_update(base_P, patch), simulation.desk.models.verified(new.model_digest))


def test_poison_is_rejected_with_evidence_and_the_honest_are_released(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    poison = simulation.contributor("mallory").delivers(lambda delta_P: np.float32(-20.0) * delta_P)
    honest = three_deliver(simulation)
    simulation.runs_until("released")
    row = update_of(simulation, poison)
    assert (row.state, row.found_by) == ("rejected", "check")
    assert row.evidence["change"] > 0.5
    assert "held-out windows" in row.reason
    assert {update_of(simulation, digest).state for digest in honest} == {"merged"}


def test_a_culprit_that_the_check_lets_through_is_found_by_the_tests(tmp_path: Path) -> None:
    config = tiny_config()
    blind = config.model_copy(update={"acceptance": config.acceptance.model_copy(update={"check_margin": 60.0})})
    generous = blind.model_copy(update={"merge": blind.merge.model_copy(update={"clip_norm_at": 1e6})})
    simulation = Simulation(tmp_path, generous)
    poison = simulation.contributor("mallory").delivers(lambda delta_P: np.float32(-200.0) * delta_P)
    honest = three_deliver(simulation)
    simulation.runs_until("released")
    row = update_of(simulation, poison)
    assert (row.state, row.found_by) == ("rejected", "culprit-search")
    assert any(trial["passed"] for trial in row.evidence["subsets"])
    assert {update_of(simulation, digest).state for digest in honest} == {"merged"}


def test_arrival_order_does_not_change_the_candidate(tmp_path: Path) -> None:
    released = set()
    for number, order in enumerate(permutations(["ada", "barbara", "grace"])):
        if number % 2:
            continue
        simulation = Simulation(tmp_path / str(number))
        for name in order:
            simulation.contributor(name, "tools" if name == "barbara" else "text").delivers()
        simulation.runs_until("released")
        newest = simulation.ledger.newest_release()
        assert newest is not None
        released.add((newest.model_digest, newest.state_digest))
    assert len(released) == 1


WIDE = {"dim": 256, "layers": 2, "heads": 2, "hidden": 512, "context": 32}  # several segments


def test_a_release_does_not_depend_on_how_segments_are_shared_out(tmp_path: Path) -> None:
    digests = set()
    for count in (1, 3):
        simulation = Simulation(tmp_path / str(count), tiny_config(model=WIDE, merge={"segments_per_task": count}))
        assert simulation.desk.space.segment_count > 1
        for name in ("ada", "barbara", "grace"):
            contributor = simulation.contributor(name)
            contributor.sends(contributor.takes_lease(), contributor.encoded(contributor.noise()))
        simulation.runs_until("released")
        newest = simulation.ledger.newest_release()
        assert newest is not None
        digests.add((newest.model_digest, newest.state_digest))
    assert len(digests) == 1


@pytest.mark.parametrize(
    "merge",
    [
        {"clip_norm_at": 0.9, "weight_by": "tokens"},
        {"strategy": "krum"},
        {"strategy": "ties"},
        {"strategy": "dare"},
        {"strategy": "median", "before": [{"name": "nnm", "options": {"liars": 1}}]},
        {"before": [{"name": "bucketing", "options": {"size": 2}}]},
        {"outer": {"name": "fed-adam", "learning_rate": 1e-3}},
    ],
    ids=str,
)
def test_releases_are_computed_again_from_what_was_published(tmp_path: Path, merge: dict[str, Any]) -> None:
    rounds = {"target_updates": 5, "min_updates": 5}
    simulation = Simulation(tmp_path, tiny_config(merge=merge, round=rounds))
    for version in ("0.1.1", "0.1.2"):
        for name in ("ada", "barbara", "grace", "katherine", "margaret"):
            contributor = simulation.contributor(name)
            contributor.sends(contributor.takes_lease(), contributor.encoded(contributor.noise()))
        simulation.runs_until_tagged(version)
    made = [release.model_digest for release in simulation.ledger.releases()]
    again = recompute(FolderSource(simulation.folder.root), "0.1.2")
    assert [one.model_digest for one in again] == made[1:]
    assert len(set(made)) == 3


def test_a_changed_outer_rule_begins_anew_and_says_so(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, tiny_config(merge={"outer": {"name": "outer-nesterov", "momentum": 0.9}}))
    three_deliver(simulation)
    simulation.runs_until_tagged("0.1.1")
    first = simulation.ledger.round(1)
    assert first is not None
    assert first.merge is not None
    assert first.merge["note"] == ""
    simulation.config = tiny_config(merge={"outer": {"name": "fed-adam", "learning_rate": 1e-3}})
    simulation.start()
    three_deliver(simulation)
    simulation.runs_until_tagged("0.1.2")
    merged = [e.event for e in simulation.ledger.events_after(0) if isinstance(e.event, RoundMerged)]
    assert "is fed-adam now: momentum and squares begin anew" in merged[1].reason
    releases = simulation.ledger.releases()
    with safe_open(simulation.desk.private.path(releases[2].state_digest or ""), framework="np") as state:
        assert sorted(state.keys()) == sorted([*FedAdam.slots, "residual"])
    assert [one.version for one in recompute(FolderSource(simulation.folder.root), "0.1.2")] == ["0.1.1", "0.1.2"]


def test_a_round_keeps_what_it_merged_and_how_updates_agreed(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, tiny_config(merge={"clip_norm_at": 0.9}))
    digests = three_deliver(simulation)
    simulation.runs_until("released")
    row = simulation.ledger.round(1)
    assert row is not None
    assert row.merge is not None
    assert [update["digest"] for update in row.merge["updates"]] == sorted(digests)
    assert any(update["clip"] < 1 for update in row.merge["updates"])
    assert sum(update["share"] for update in row.merge["updates"]) <= 1
    assert row.merge["conflicts"]["overall"]["cosine"] > 0.2  # they learn the same language
    assert row.verdict is not None
    assert row.verdict["passed"]
    assert set(row.verdict["tests"]) == {"loss-text", "loss-tools"}


def test_too_few_at_the_deadline_and_the_update_may_be_folded_back(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    alone = simulation.contributor("ada").delivers()
    simulation.ticks(3)
    simulation.passes(61)
    simulation.runs_until("abandoned")
    row = update_of(simulation, alone)
    assert row.state == "unmerged"
    assert "at least 2 needed" in row.reason
    newest = simulation.ledger.newest_release()
    assert newest is not None
    assert newest.version == "0.1.0"


def test_an_update_that_comes_after_its_round_closed_is_unmerged_not_rejected(tmp_path: Path) -> None:
    round_ = tiny_config().round.model_copy(update={"lease_for_s": 10.0})
    simulation = Simulation(tmp_path, tiny_config(round=round_.model_dump()))
    late = simulation.contributor("katherine")
    lease_id = late.takes_lease()
    data = late.encoded(late.trained())
    simulation.passes(11)  # the lease runs out, so nobody waits for it
    three_deliver(simulation)
    simulation.runs_until("released")
    digest = late.sends(lease_id, data)
    simulation.ticks(2)
    row = update_of(simulation, digest)
    assert row.state == "unmerged"
    assert "against what was merged meanwhile (0.1.1): " in row.reason
    assert row.evidence["merged_meanwhile"] == ["0.1.1"]
    assert row.evidence["conflicts"]["overall"]["cosine"] > 0.2  # the others learnt the same
    assert row.evidence["conflicts"]["worst_tensors"]


@pytest.mark.parametrize("damage", ["a patch is gone", "its bytes are not an update", "nothing was merged"])
def test_what_a_late_update_conflicts_with_may_stay_unknown(tmp_path: Path, damage: str) -> None:
    round_ = tiny_config().round.model_copy(update={"lease_for_s": 10.0})
    simulation = Simulation(tmp_path, tiny_config(round=round_.model_dump()))
    late = simulation.contributor("katherine")
    lease_id = late.takes_lease()
    data = b"no update" if damage == "its bytes are not an update" else late.encoded(late.trained())
    simulation.passes(11)
    if damage == "nothing was merged":
        simulation.passes(60)
        simulation.runs_until("abandoned")
    else:
        three_deliver(simulation)
        simulation.runs_until_tagged("0.1.1")
    if damage == "a patch is gone":
        newest = simulation.ledger.newest_release()
        assert newest is not None
        assert newest.patch is not None
        simulation.desk.public.delete(newest.patch["digest"])
    row = update_of(simulation, late.sends(lease_id, data))
    simulation.ticks(2)
    row = update_of(simulation, row.digest)
    assert row.state == "unmerged"
    assert "had stopped collecting when it arrived" in row.reason
    if damage == "nothing was merged":
        assert row.evidence == {}
    else:
        assert "not known: " in row.reason
        assert row.evidence["conflicts"]["unknown"]


def test_a_late_update_waits_while_its_round_is_merged_and_is_told_in_time_anyway(tmp_path: Path) -> None:
    round_ = tiny_config().round.model_copy(update={"lease_for_s": 10.0})
    simulation = Simulation(tmp_path, tiny_config(round=round_.model_dump()))
    late = simulation.contributor("katherine")
    lease_id = late.takes_lease()
    data = late.encoded(late.trained())
    simulation.passes(11)
    three_deliver(simulation)
    while simulation.ledger.rounds()[0].phase == "collecting":
        simulation.ticks()
    digest = late.sends(lease_id, data)
    simulation.conductor.tick(0.0)
    assert update_of(simulation, digest).state == "received"
    simulation.passes(601)
    simulation.ticks()
    row = update_of(simulation, digest)
    assert (row.state, row.evidence) == ("unmerged", {})


@pytest.mark.parametrize("damage", ["truncated", "nan", "wrong base", "a patch", "another codec", "not an update"])
def test_bytes_that_are_no_update_are_rejected_and_harm_nobody(tmp_path: Path, damage: str) -> None:
    simulation = Simulation(tmp_path, tiny_config(update={"codec": {"name": "dense"}}))
    mallory = simulation.contributor("mallory")
    lease_id = mallory.takes_lease()
    delta_P = mallory.trained()
    data = mallory.encoded(delta_P)
    match damage:
        case "truncated":
            data = data[:-7]
        case "nan":
            data = data[:-4] + np.float32("nan").tobytes()
        case "wrong base":
            data = mallory.encoded(delta_P, base_digest="b3:" + "0" * 64)
        case "a patch":
            data = mallory.encoded(delta_P, role="patch")
        case "another codec":
            data = mallory.encoded(delta_P, codec=CodecConfig(name="blockwise", bits=8))
        case _:
            data = b"\x28\xb5\x2f\xfd" + b"\0" * 64
    digest = mallory.sends(lease_id, data)
    honest = three_deliver(simulation)
    simulation.runs_until("released")
    row = update_of(simulation, digest)
    assert (row.state, row.found_by) == ("rejected", "check")
    assert row.evidence["code"] in {"truncated-update", "non-finite-update", "wrong-base", "unsupported-format"}
    assert {update_of(simulation, one).state for one in honest} == {"merged"}


def test_a_crash_at_any_moment_changes_nothing_that_is_released(tmp_path: Path) -> None:
    """Start again after every number of ticks: the same release, tagged once, every update counted once."""
    untouched = Simulation(tmp_path / "untouched")
    three_deliver(untouched)
    untouched.runs_until("released")
    expected = untouched.ledger.releases()[-1]
    for crash_after in moments(range(1, 16), 6):
        simulation = Simulation(tmp_path / str(crash_after))
        three_deliver(simulation)
        simulation.ticks(crash_after)
        simulation.start()
        simulation.runs_until("released")
        releases = simulation.ledger.releases()
        assert [release.version for release in releases] == ["0.1.0", "0.1.1"]
        assert releases[-1].model_digest == expected.model_digest
        assert releases[-1].state_digest == expected.state_digest


def test_a_rejected_round_leaves_no_trace_in_the_optimiser(tmp_path: Path) -> None:
    config = tiny_config()
    strict = [test.model_copy(update={"margin": 1e-9}) for test in config.acceptance.tests]
    acceptance = config.acceptance.model_copy(update={"tests": tuple(strict), "check_margin": 60.0})
    simulation = Simulation(tmp_path, config.model_copy(update={"acceptance": acceptance}))
    for name in ("ada", "barbara", "grace"):
        simulation.contributor(name).delivers(lambda delta_P: np.float32(-200.0) * delta_P)
    simulation.runs_until("rejected")
    newest = simulation.ledger.newest_release()
    assert newest is not None
    assert (newest.version, newest.state_digest) == ("0.1.0", None)
    assert {row.state for row in simulation.ledger.updates()} <= {"rejected", "unmerged"}


def test_the_model_cache_can_be_lost(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    three_deliver(simulation)
    simulation.runs_until("released")
    simulation.desk.models.keep_only([])
    simulation.start()
    newest = simulation.ledger.newest_release()
    assert newest is not None
    assert simulation.desk.models.verified(newest.model_digest).shape == (simulation.desk.space.size,)


def test_a_strategy_that_needs_more_updates_than_a_round_has_is_told_at_the_start(tmp_path: Path) -> None:
    merge = {"strategy": "trimmed-mean", "options": {"trim": 0.25}}
    with pytest.raises(ConfigValueError, match=r"needs at least 4 updates, .* is 2; raise it to 4"):
        Simulation(tmp_path, tiny_config(merge=merge))
    with pytest.raises(UnknownStrategyError, match="there are mean, "):
        Simulation(tmp_path, tiny_config(merge={"strategy": "mode"}))


def test_culprits_are_found_in_subsets_that_are_too_small_for_the_strategy(tmp_path: Path) -> None:
    config = tiny_config()
    acceptance = config.acceptance.model_copy(update={"check_margin": 60.0})
    merge = {"strategy": "trimmed-mean", "options": {"trim": 0.25}, "clip_norm_at": 1e6}
    rounds = {"target_updates": 4, "min_updates": 4}
    simulation = Simulation(
        tmp_path, tiny_config(merge=merge, round=rounds, acceptance=acceptance.model_dump(mode="json"))
    )
    for name in ("mallory", "malory"):
        simulation.contributor(name).delivers(lambda delta_P: np.float32(-200.0) * delta_P)
    for name in ("ada", "barbara"):
        simulation.contributor(name).delivers()
    simulation.runs_until("rejected")
    states = {row.state for row in simulation.ledger.updates()}
    assert states == {"rejected", "unmerged"}
    assert len(simulation.ledger.updates(state="rejected")) == 2
