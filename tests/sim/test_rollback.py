"""Orders in a whole run: channels moved back, updates and keys taken out of the trunk again, told as stories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from barnraise.releases.manifest import Manifest, read_manifest
from coordinator.ledger import OrderRow, ReleaseRow
from coordinator.orders import Order, Revert
from coordinator.orders.placing import append
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
    """A round of everybody but the absent; who sent what."""
    present = {name: shard for name, shard in PEOPLE.items() if name not in absent}
    return {name: simulation.contributor(name, shard).delivers() for name, shard in present.items()}


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
