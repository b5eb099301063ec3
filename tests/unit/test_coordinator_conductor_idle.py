"""A conductor with nothing to do asks the ledger one thing a turn, and misses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from coordinator.ledger import Ledger
from coordinator.ledger.order_events import ContributorBanned
from coordinator.orders.kinds import Yank
from coordinator.orders.placing import append
from fresh_ledger import fresh_ledger
from simulator import Simulation, tiny_config


@contextmanager
def questions(ledger: Ledger) -> Iterator[list[str]]:
    """What the ledger is asked in the block."""
    asked: list[str] = []

    def told(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append(statement)

    event.listen(ledger._engine, "before_cursor_execute", told)
    try:
        yield asked
    finally:
        event.remove(ledger._engine, "before_cursor_execute", told)


@pytest.fixture
def idle(tmp_path: Path) -> Simulation:
    """Its first round is open, and nobody is there."""
    simulation = Simulation(tmp_path)
    simulation.ticks(3)
    return simulation


def assert_idle(simulation: Simulation) -> None:
    seq = simulation.ledger.last_seq()
    with questions(simulation.ledger) as asked:
        simulation.ticks(5)
    assert len(asked) == 5, asked[-10:]
    assert simulation.ledger.last_seq() == seq


def test_an_idle_turn_asks_one_thing(idle: Simulation) -> None:
    assert_idle(idle)
    idle.contributor("ada").takes_lease()
    idle.ticks()
    assert_idle(idle)


def test_a_run_that_has_all_its_rounds_asks_one_thing_a_turn(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, tiny_config(round={"max_rounds": 1, "collect_for_s": 60, "lease_for_s": 60}))
    simulation.contributor("ada").takes_lease()
    simulation.passes(61)
    simulation.runs_until("abandoned")
    simulation.ticks()
    assert_idle(simulation)


def test_time_ends_a_round_on_the_very_turn_though_nothing_was_recorded(idle: Simulation) -> None:
    idle.contributor("ada").takes_lease()
    idle.ticks()
    idle.passes(59.999)
    assert_idle(idle)
    idle.passes(0.001)
    idle.ticks()
    assert [row.phase for row in idle.ledger.rounds()] == ["abandoned"]


def test_what_another_process_records_is_acted_on_in_the_next_turn(idle: Simulation) -> None:
    gateway = fresh_ledger(idle.folder.ledger)
    order_id = append(gateway, Yank("0.1.0", "untrained"), idle.clock())
    idle.ticks()
    order = gateway.order(order_id)
    assert order is not None
    assert order.settled_at_ms is not None
    digest = idle.contributor("ada").delivers()  # takes a turn of its own for the lease
    idle.ticks()
    update = gateway.update(digest)
    assert update is not None
    assert update.state == "checked"
    idle.ticks()
    assert_idle(idle)
    gateway.record(ContributorBanned(idle.contributor("ada").identity.public, 0, "it lies"), at_ms=idle.clock())
    idle.ticks()
    assert [row.phase for row in gateway.rounds()] == ["abandoned", "collecting"]
    gateway.close()
