"""Leases at the door: given back by who holds them, and told apart when one key works in two places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.protocol import LeaseRelease, LeaseReleaseAnswer
from barnraise.schedule_config import ScheduleConfig
from coordinator.ledger.events import RoundMoved, RoundOpened
from doorstep import ADA, BASE, BOB, Answer, Doorstep, doorstep

HERE, THERE = "1" * 32, "2" * 32


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Doorstep]:
    with doorstep(tmp_path / "run") as opened:
        yield opened


def give_back(door: Doorstep, lease: dict[str, Any], who: Identity = ADA) -> Answer:
    return door.post("/v1/leases/release", Signed.make(LeaseRelease(run="toy", lease_id=lease["lease_id"]), who))


def test_a_lease_that_was_given_back_is_over_and_another_may_be_had(door: Doorstep) -> None:
    first = door.leased()
    answer = LeaseReleaseAnswer.read(give_back(door, first).value)
    assert answer.released
    assert [row["kind"] for row in door.call("GET", "/v1/events").value["events"]][-1] == "lease-released"
    assert door.ledger.open_leases(1, door.now_ms) == []
    second = door.leased()
    assert second["lease_id"] != first["lease_id"]


def test_giving_back_twice_records_once(door: Doorstep) -> None:
    lease = door.leased()
    give_back(door, lease)
    before = door.trace()
    again = LeaseReleaseAnswer.read(give_back(door, lease).value)
    assert (again.released, again.reason) == (False, "the lease was over already")
    assert door.trace() == before


def test_only_its_holder_gives_a_lease_back(door: Doorstep) -> None:
    lease = door.leased()
    before = door.trace()
    assert give_back(door, lease, BOB).code == "lease"
    assert door.call("POST", "/v1/leases/release", b"{}").status == 400
    assert door.trace() == before


def test_the_shard_of_a_lease_that_was_given_back_goes_to_the_next(door: Doorstep) -> None:
    lease = door.leased()
    give_back(door, lease)
    assert door.leased(BOB, "Bob")["shard"] == lease["shard"]


def test_an_update_under_a_lease_that_was_given_back_is_refused_in_words(door: Doorstep) -> None:
    lease, data = door.leased(), b"x" * 100
    give_back(door, lease)
    refused = door.post("/v1/updates", door.envelope(lease, data))
    assert refused.code == "lease"
    assert "ask for a new one" in refused.value["error"]["reason"]


def test_two_nodes_with_one_key_are_told_apart(door: Doorstep) -> None:
    first = door.ask(node=HERE).value["lease"]["body"]
    assert door.ask(node=HERE).value["lease"]["body"] == first
    said = door.ask(node=THERE).value["wait"]["reason"]
    assert "another node with this key" in said
    door.now_ms = first["expires_at_ms"]
    assert door.ask(node=THERE).value["lease"]["body"]["lease_id"] != first["lease_id"]


def test_rebuilt_projections_know_what_was_given_back(door: Doorstep) -> None:
    give_back(door, door.ask(node=HERE).value["lease"]["body"])
    before = door.ledger.leases(1)
    door.ledger.rebuild()
    assert door.ledger.leases(1) == before


def test_a_lease_and_the_terms_say_how_many_turns_elements_take(door: Doorstep) -> None:
    assert door.leased(BOB, "Bob")["turns"] is None
    config = door.state.config
    update = config.update.model_copy(update={"turns": 8})
    turning = Doorstep(replace(door.state, config=config.model_copy(update={"update": update})))
    assert turning.leased()["turns"] == 8
    assert turning.call("GET", "/v1/run").value["terms"]["turns"] == 8


def test_a_lease_has_the_learning_rate_of_its_round_and_all_else_as_configured(door: Doorstep) -> None:
    config = door.state.config
    rising = config.model_copy(update={"schedule": ScheduleConfig(rising_rounds=3)})
    scheduled = Doorstep(replace(door.state, config=rising))
    training = scheduled.leased()["training"]
    assert training.pop("learning_rate") == config.training.learning_rate / 4
    assert training.items() < config.training.model_dump(mode="json").items()
    assert scheduled.call("GET", "/v1/rounds/1").value["learning_rate"] == config.training.learning_rate / 4
    scheduled.record(RoundMoved(1, "abandoned", "too few updates", {}), RoundOpened(2, "0.1.0", BASE))
    assert scheduled.leased()["training"]["learning_rate"] == config.training.learning_rate / 2
    told = [scheduled.call("GET", f"/v1/rounds/{number}").value["learning_rate"] for number in (1, 2)]
    assert told == [None, config.training.learning_rate / 2]
