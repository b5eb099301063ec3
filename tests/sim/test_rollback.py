"""Orders in a whole run: channels moved back, updates and keys taken out of the trunk again, told as stories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.errors import BrokenChainError
from barnraise.releases.manifest import Manifest, read_manifest
from barnraise.releases.source import FolderSource
from coordinator.ledger import OrderRow, ReleaseRow
from coordinator.ledger.order_events import OrderSettled
from coordinator.orders import LiftBan, MoveChannel, Order, Revert, Revoke, Yank
from coordinator.orders.placing import append
from coordinator.recompute import recompute
from simulator import Simulation, tiny_config

PEOPLE = {"ada": "text", "barbara": "tools", "grace": "text", "mallory": "text"}
LENIENT = {
    "check_examples": 16,
    "check_margin": 60.0,
    "tests": [{"name": "loss-text", "kind": "loss", "shard": "text", "examples": 24, "margin": 8.0}],
}


def world(root: Path, **changes: Any) -> Simulation:
    """A run whose tests let nearly everything pass, and whose outer rule and residual remember."""
    outer = {"outer": {"name": "outer-nesterov", "momentum": 0.5, "learning_rate": 0.5}}
    rounds = {"target_updates": 4, "min_updates": 2, "collect_for_s": 60, "settle_for_s": 5, "lease_for_s": 60}
    settings = {"merge": outer, "round": rounds, "acceptance": LENIENT, **changes}
    return Simulation(root, tiny_config(**settings))


def deliver(simulation: Simulation, *absent: str) -> dict[str, str]:
    """A round of everybody but the absent; who sent what. No round is like another, even from the same base."""
    present = {name: shard for name, shard in PEOPLE.items() if name not in absent}
    simulation.ticks()
    current = simulation.ledger.current_round()
    assert current is not None
    size = np.float32(1 + current.number / 64)
    return {
        name: simulation.contributor(name, shard).delivers(lambda delta_P: size * delta_P)
        for name, shard in present.items()
    }


def released(simulation: Simulation, version: str, *absent: str) -> dict[str, str]:
    sent = deliver(simulation, *absent)
    simulation.ticks()
    simulation.passes(6)  # nobody else comes
    simulation.runs_until_tagged(version)
    return sent


def ordered(simulation: Simulation, order: Order, most: int = 400) -> OrderRow:
    """Place an order, and tick until it is settled."""
    order_id = append(simulation.ledger, order, simulation.clock())
    for _ in range(most):
        simulation.ticks()
        row = simulation.ledger.order(order_id)
        assert row is not None
        if row.settled_at_ms is not None:
            return row
    raise AssertionError(f"{order} is not settled after {most} turns")


def done(simulation: Simulation, order: Order) -> OrderRow:
    row = ordered(simulation, order)
    assert row.done, row.reason
    return row


def release_of(simulation: Simulation, version: str) -> ReleaseRow:
    row = simulation.ledger.release(version)
    assert row is not None
    return row


def manifest_of(simulation: Simulation, version: str) -> Manifest:
    digest = release_of(simulation, version).manifest_digest
    return read_manifest(simulation.desk.public.read(digest), version)


def made(row: ReleaseRow) -> tuple[str, str | None]:
    return row.model_digest, row.state_digest


def test_a_reverted_update_of_the_last_round_was_never_sent_as_far_as_model_and_state_go(tmp_path: Path) -> None:
    never = world(tmp_path / "never")
    released(never, "0.1.1")
    released(never, "0.1.2", "mallory")
    sent = world(tmp_path / "sent")
    released(sent, "0.1.1")
    by = released(sent, "0.1.2")
    assert made(release_of(sent, "0.1.2")) != made(release_of(never, "0.1.2"))
    row = done(sent, Revert((by["mallory"],), "it lies"))
    assert row.result is not None
    assert row.result["version"] == "0.1.3"
    assert made(release_of(sent, "0.1.3")) == made(release_of(never, "0.1.2"))
    assert sent.ledger.channels() == {"nightly": "0.1.3"}
    update = sent.ledger.update(by["mallory"])
    assert update is not None
    assert (update.state, update.version, update.reverted_in) == ("reverted", "0.1.2", "0.1.3")


def test_later_rounds_are_merged_again_and_anybody_can_repeat_it(tmp_path: Path) -> None:
    simulation = world(tmp_path)
    first = released(simulation, "0.1.1")
    for number in (2, 3, 4):
        released(simulation, f"0.1.{number}")
    row = done(simulation, Revert((first["mallory"][:15],), "it lies"))
    made_without = manifest_of(simulation, "0.1.5").remerged
    assert made_without is not None
    assert (made_without.left_out, made_without.dropped) == ((first["mallory"],), ())
    assert made_without.repeated == ("0.1.1", "0.1.2", "0.1.3", "0.1.4")
    assert row.result is not None
    assert len(row.result["added_to_another_base"]) == 12
    assert "made from the releases of then" in row.result["note"]
    released(simulation, "0.1.6")  # the trunk goes on from there
    again = recompute(FolderSource(simulation.folder.root), "0.1.6")
    assert [one.model_digest for one in again] == [row.model_digest for row in simulation.ledger.releases()[1:]]
    assert [one.patch_digest is None for one in again] == [False, False, False, False, True, False]


def test_a_second_revert_goes_on_from_the_line_of_the_first(tmp_path: Path) -> None:
    simulation = world(tmp_path)
    first = released(simulation, "0.1.1")
    second = released(simulation, "0.1.2")
    done(simulation, Revert((first["mallory"],)))  # 0.1.3
    third = released(simulation, "0.1.4")
    done(simulation, Revert((second["ada"],)))  # 0.1.5
    done(simulation, Revert((third["grace"],)))  # 0.1.6
    assert [row.reverts for row in simulation.ledger.releases()[3:]] == [
        [first["mallory"]],
        [],
        [second["ada"]],
        [third["grace"]],
    ]
    assert [row.model_digest for row in recompute(FolderSource(simulation.folder.root), "0.1.6")] == [
        row.model_digest for row in simulation.ledger.releases()[1:]
    ]


def test_in_whatever_order_updates_are_reverted_the_trunk_is_the_same(tmp_path: Path) -> None:
    ends = set()
    for number, chosen in enumerate([("mallory", "ada"), ("ada", "mallory"), ("both", "")]):
        simulation = world(tmp_path / str(number))
        by = released(simulation, "0.1.1")
        by2 = released(simulation, "0.1.2")
        names = {"mallory": (by["mallory"],), "ada": (by2["ada"],), "both": (by["mallory"], by2["ada"]), "": ()}
        for name in chosen:
            if names[name]:
                done(simulation, Revert(names[name]))
        head = simulation.ledger.head()
        assert head is not None
        ends.add(made(head))
    assert len(ends) == 1


def test_a_round_with_too_few_left_drops_out_as_it_would_have(tmp_path: Path) -> None:
    simulation = world(tmp_path)
    released(simulation, "0.1.1")
    by = released(simulation, "0.1.2", "ada", "barbara")
    assert len(by) == 2
    row = done(simulation, Revert((by["mallory"],), "it lies"))
    assert made(release_of(simulation, "0.1.3")) == made(release_of(simulation, "0.1.1"))
    assert row.result is not None
    assert row.result["dropped"] == [by["grace"]]
    kept = simulation.ledger.update(by["grace"])
    assert kept is not None
    assert (kept.state, kept.reason) == ("reverted", "too few were left of its round")
    assert recompute(FolderSource(simulation.folder.root), "0.1.3")[-1].updates == 0


def test_without_its_only_rounds_the_trunk_is_the_first_release_again(tmp_path: Path) -> None:
    simulation = world(tmp_path)
    by = released(simulation, "0.1.1", "ada", "barbara")
    done(simulation, Revert((by["mallory"],)))
    assert made(release_of(simulation, "0.1.2")) == made(release_of(simulation, "0.1.0"))
    released(simulation, "0.1.3")
    recompute(FolderSource(simulation.folder.root), "0.1.3")


def test_a_revert_that_fails_its_tests_changes_nothing_and_says_by_how_much(tmp_path: Path) -> None:
    strict = {**LENIENT, "tests": [{**LENIENT["tests"][0], "margin": 1e-3}]}
    simulation = world(tmp_path, acceptance=strict)
    by = released(simulation, "0.1.1")
    before = simulation.ledger.releases()
    row = ordered(simulation, Revert((by["ada"], by["grace"], by["mallory"]), "why not"))
    assert row.done is False
    assert "worse by 0.001 is not ruled out" in (row.reason or "")
    assert "--accept-regression loss-text --reason WHY" in (row.reason or "")
    assert row.result is not None
    assert row.result["tests"]["against"]["passed"] is False
    assert row.result["model"]["changed"] > 0
    assert simulation.ledger.releases() == before
    assert {update.state for update in simulation.ledger.updates(round=1)} == {"merged"}
    accepted = Revert((by["ada"], by["grace"], by["mallory"]), "why not", {"loss-text": "it leaked names"})
    row = done(simulation, accepted)
    assert row.result is not None
    assert row.result["version"] == "0.2.0"
    release = release_of(simulation, "0.2.0")
    assert (release.bump, release.summary["loss-text"]["passed"]) == ("major", False)
    assert "the operator accepted that loss-text got worse: it leaked names" in release.reason
