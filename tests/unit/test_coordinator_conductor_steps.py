"""A round's merge: the same candidate in any order and shares, and a record of it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors import safe_open

from barnraise.errors import MergeError
from barnraise.merge_config import MergeConfig
from barnraise.updates.scope import EVERYWHERE
from coordinator.conductor import merging
from coordinator.conductor.merging import MergeInput, MergeJob, shared_carrier, state_note
from coordinator.conductor.parts import read_state
from coordinator.conductor.pool import InlinePool
from coordinator.conductor.record import merge_record, record_in_words
from coordinator.conductor.steps import merge_now
from coordinator.rehearsal import can_merge
from laws import moments
from merge.strategies import BUILT_IN, OUTER_RULES, FedAdam, OuterNesterov, make_outer
from merge.strategies.rule import MergesMatrices, UsesFisher
from yard import CODEC, UPDATES, Yard

WAYS: dict[str, dict[str, Any]] = {
    **{kind.name: {"strategy": kind.name} for kind in BUILT_IN if not isinstance(kind(), MergesMatrices | UsesFisher)},
    **{f"mean, {kind.name}": {"outer": {"name": kind.name}} for kind in OUTER_RULES},
    "mean, clipped, by tokens": {"weight_by": "tokens", "clip_norm_at": 0.8},
    "mean, outer-nesterov, momentum": {"outer": {"name": "outer-nesterov", "momentum": 0.9}},
    "nnm, median": {"strategy": "median", "before": [{"name": "nnm"}]},
    "bucketing, nnm, krum": {"strategy": "krum", "before": [{"name": "bucketing"}, {"name": "nnm"}]},
    "krum, clipped": {"strategy": "krum", "clip_norm_at": 0.8},
    "ties, clipped": {"strategy": "ties", "clip_norm_at": 0.8},
}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    return Yard.at(tmp_path_factory.mktemp("yard"), MergeConfig())


def config(way: str) -> MergeConfig:
    return MergeConfig.model_validate(WAYS[way])


def enough(merge: MergeConfig) -> int:
    """Five updates, or as many as it takes."""
    return next(count for count in (5, *range(2, UPDATES + 1)) if can_merge(merge, count))


@pytest.mark.parametrize("way", WAYS)
def test_order_and_shares_leave_no_trace(yard: Yard, way: str) -> None:
    ours = yard.merging(config(way), enough(config(way)))
    assert yard.bench.space.segment_count == 3
    found = {
        ours.round(InlinePool(), random.Random(share), segments_per_task=share).candidate
        for share in moments((1, 2, 3), 2)
    }
    assert len(found) == 1


def test_a_second_round_goes_on_from_the_first_alike(yard: Yard) -> None:
    ours = yard.merging(config("mean, fed-adam"))
    expected = [one.candidate for one in ours.two_rounds(InlinePool(), random.Random(0))]
    found = [one.candidate for one in ours.two_rounds(InlinePool(), random.Random(1), segments_per_task=2)]
    assert found == expected
    assert expected[0] != expected[1]


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    return Yard.at(tmp_path_factory.mktemp("turning"), MergeConfig(), turns=8)


@pytest.mark.parametrize("way", ["mean", "krum, clipped"])
def test_elements_in_turn_are_merged_alike_in_any_order_and_shares(turning: Yard, way: str) -> None:
    ours = turning.merging(config(way), enough(config(way)))
    found = {
        tuple(one.candidate for one in ours.two_rounds(InlinePool(), random.Random(share), segments_per_task=share))
        for share in moments((1, 2, 3), 2)
    }
    assert len(found) == 1


def test_elements_in_turn_are_added_as_they_are_named_with_the_bits_of_dense_changes(
    turning: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = turning.merging(config("mean, clipped, by tokens"))
    named = ours.round(InlinePool(), random.Random(0)).candidate
    monkeypatch.setattr(merging, "sum_factors", lambda *_: None)
    assert ours.round(InlinePool(), random.Random(0)).candidate == named


@pytest.mark.parametrize("way", ["mean", "krum, clipped", "bucketing, nnm, krum", "mean, clipped, by tokens"])
def test_adding_packed_updates_gives_the_bits_of_adding_decoded_ones(
    yard: Yard, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = yard.merging(config(way), enough(config(way)))
    packed = ours.round(InlinePool(), random.Random(0)).candidate
    monkeypatch.setattr(merging, "sum_factors", lambda *_: None)
    assert ours.round(InlinePool(), random.Random(0)).candidate == packed


def test_ways_of_merging_differ(yard: Yard) -> None:
    ways = ("mean", "median", "krum", "trimmed-mean", "nnm, median", "mean, clipped, by tokens", "mean, fed-adam")
    made = {yard.merging(config(way)).round(InlinePool(), random.Random(0)).candidate.model_digest for way in ways}
    assert len(made) == len(ways)


def test_other_updates_draw_other_lots() -> None:
    def seed(base: str, *digests: str) -> int:
        inputs = tuple(MergeInput(d, 1.0) for d in digests)
        return MergeJob(base, inputs, None, MergeConfig(), CODEC, EVERYWHERE).rules.seed

    assert len({seed("b", "x", "y"), seed("b", "x", "z"), seed("c", "x", "y"), seed("b", "x", "y", "z")}) == 4
    assert seed("b", "x", "y") == seed("b", "x", "y")


def test_the_state_has_every_slot_of_the_outer_rule_and_the_residual(yard: Yard) -> None:
    ours = yard.merging(config("mean, fed-adam"))
    slots = make_outer(ours.merge.outer).slots
    for done in ours.two_rounds(InlinePool(), random.Random(0)):
        with safe_open(ours.bench.blobs.path(done.candidate.state_digest), framework="np") as state:
            names = sorted(state.keys())
            assert names == sorted([*slots, "residual"])
            assert all(state.get_tensor(name).shape == (ours.bench.space.size,) for name in names)
            assert any(state.get_tensor(slot).any() for slot in slots)


def test_what_is_kept_of_a_state_when_the_outer_rule_changes(yard: Yard) -> None:
    first = yard.merging(config("mean, outer-nesterov")).round(InlinePool(), random.Random(0)).candidate
    notes = {}
    for name in ("none", "outer-nesterov", "fed-adam"):
        ours = yard.merging(config(f"mean, {name}"))
        notes[name] = state_note(ours.bench, ours.job(ours.merge, random.Random(0), first))
        ours.round(InlinePool(), random.Random(0), 1, first)
    assert notes["outer-nesterov"] == ""
    assert notes["none"] == "the outer rule was outer-nesterov and is none now: it remembers nothing"
    assert notes["fed-adam"].endswith("is fed-adam now: momentum and squares begin anew")


def test_another_rule_s_momentum_is_not_taken_over(yard: Yard) -> None:
    first = yard.merging(config("mean, outer-nesterov, momentum")).round(InlinePool(), random.Random(0)).candidate
    path, adam = yard.bench.blobs.path(first.state_digest), FedAdam()
    assert "momentum" in adam.slots
    state, residual_P = read_state(path, adam, 10, 20)
    assert {slot: values_P.tolist() for slot, values_P in state.items()} == {
        slot: values_P.tolist() for slot, values_P in adam.initial(10).items()
    }
    kept, same_P = read_state(path, OuterNesterov(momentum=0.9), 0, yard.bench.space.size)
    assert bool(kept["momentum"].any())
    assert torch.equal(same_P[10:20], residual_P)


def record_of(yard: Yard, note: str = "") -> dict[str, Any]:
    bench, job = yard.bench, yard.job(yard.merge, random.Random(0))
    done = merge_now(bench, job, InlinePool(), 60.0)
    return merge_record(bench.space.tensors, job, done, shared_carrier(bench, job), note)


def test_a_record_says_what_every_update_got(yard: Yard) -> None:
    ours = yard.merging(config("krum, clipped"), 5)
    record = record_of(ours, "a note")
    assert [row["digest"] for row in record["updates"]] == sorted(
        digest for digest, _ in yard.made[yard.base_digest][:5]
    )
    assert sorted(row["share"] for row in record["updates"]) == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert sum(row["clip"] < 1 for row in record["updates"]) >= 2
    assert record["conflicts"]["overall"]["cosine"] > 0
    assert json.loads(json.dumps(record, allow_nan=False))["updates"] == record["updates"]
    words = record_in_words(record)
    assert "chose " in words
    assert words.endswith("; a note")


def test_shares_of_a_rule_that_weighs_tensors_are_means_over_their_elements(yard: Yard) -> None:
    shares = [row["share"] for row in record_of(yard.merging(config("model-stock"), 5))["updates"]]
    assert 0.9 < sum(shares) <= 1.000001  # tensors that nobody changes have no shares
    assert all(0 < share < 1 for share in shares)


def test_a_rule_that_goes_by_elements_has_no_shares_to_tell(yard: Yard) -> None:
    assert {row["share"] for row in record_of(yard.merging(config("median")))["updates"]} == {None}


def test_an_error_in_a_task_ends_the_merge(yard: Yard) -> None:
    job = yard.job(yard.merge, random.Random(0))
    nothing = replace(job, inputs=tuple(MergeInput(item.digest, 0.0) for item in job.inputs))
    with pytest.raises(MergeError, match="weights"):
        merge_now(yard.bench, nothing, InlinePool(), 60.0)
