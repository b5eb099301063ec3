"""Orders as commands give them: with a coordinator that runs, and without one."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from barnraise.cli import run
from barnraise.errors import NotARunFolderError, OrderRefusedError
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import read_index
from barnraise.run_folder import RunFolder
from coordinator.ledger.order_events import OrderPlaced
from coordinator.orders import MoveChannel, Settled, Yank, place
from simulator import Simulation, tiny_config

TOLD = dict[str, Any]


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """A run with a round released, which tests of this file go on with."""
    acceptance = {**tiny_config().acceptance.model_dump(mode="json"), "check_margin": 60.0}
    acceptance["tests"] = [{**test, "margin": 8.0} for test in acceptance["tests"]]
    made = Simulation(tmp_path_factory.mktemp("run"), tiny_config(acceptance=acceptance))
    for name, shard in {"ada": "text", "barbara": "tools", "grace": "text"}.items():
        made.contributor(name, shard).delivers()
    made.runs_until("released")
    return made


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, TOLD]:
    code = run([*words, "--json"])
    told: TOLD = json.loads(capsys.readouterr().out)
    return code, told


def test_without_a_coordinator_a_command_settles_its_order_itself(
    simulation: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(simulation.folder.root)
    code, told = command(capsys, "yank", "0.1.0", "--reason", "untrained", "--run", folder)
    assert (code, told["result"]["waits"]) == (0, False)
    assert told["result"]["reason"] == "0.1.0 is yanked: untrained; by exact number it can still be had"
    assert read_index(FolderSource(simulation.folder.root)).index.yanked["0.1.0"] == "untrained"
    code, told = command(capsys, "rollback", "nightly", "0.1.0", "--run", folder)
    assert (code, told["error"]["code"]) == (6, "order-refused")
    assert "0.1.0 was yanked: untrained" in told["error"]["reason"]
    code, told = command(capsys, "yank", "0.1.0", "--undo", "--run", folder)
    assert (code, told["result"]["reason"]) == (0, "0.1.0 is yanked no more")
    code, told = command(capsys, "rollback", "stable", "0.1.0", "--run", folder)
    assert told["error"]["reason"] == "there is no channel stable; no release was promoted yet"


def test_what_must_compute_waits_for_the_next_coordinator(
    simulation: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, *_) = simulation.ledger.updates(round=1)
    folder = str(simulation.folder.root)
    code, told = command(capsys, "revert", first.digest, "--reason", "it lies", "--run", folder)
    assert (code, told["result"]["waits"]) == (0, True)
    assert "takes effect at the next: barnraise serve" in told["result"]["reason"]
    assert simulation.ledger.release("0.1.2") is None
    simulation.start()
    simulation.runs_until_tagged("0.1.2")
    assert simulation.ledger.orders(waiting=True) == []
    assert run(["ls", "--from", folder]) == 0
    words = capsys.readouterr().out
    assert "nightly, without 1 update of 0.1.1" in words
    assert "reverted in part by 0.1.2" in words
    assert all(len(line) <= 80 for line in words.splitlines())
    assert run(["show", "0.1.2", "--from", folder]) == 0
    assert "by merging again what made 0.1.1 (it lies)" in capsys.readouterr().out


def test_with_a_coordinator_a_command_waits_until_it_has_obeyed(simulation: Simulation) -> None:
    told: list[str] = []
    with simulation.folder.lock("coordinator"):
        settled = place(simulation.folder, Yank("0.1.0", "untrained"), tell=told.append, wait=simulation.ticks)
        with pytest.raises(OrderRefusedError, match="there is no release"):
            place(simulation.folder, MoveChannel("nightly", "9.9.9"), wait=simulation.ticks)
    assert isinstance(settled, Settled)
    assert (settled.waits, settled.result) == (False, {"version": "0.1.0", "yanked": "untrained"})
    assert len(told) == 1
    assert "the coordinator takes it up" in told[0]


def stopped() -> None:
    """What waiting ends with when somebody presses Ctrl-C."""
    raise KeyboardInterrupt


def test_an_order_whose_command_was_stopped_stands(simulation: Simulation) -> None:
    with simulation.folder.lock("coordinator"), pytest.raises(KeyboardInterrupt):
        place(simulation.folder, Yank("0.1.0", "once more"), wait=stopped)
    assert len(simulation.ledger.orders(waiting=True)) == 1
    simulation.ticks()
    assert simulation.ledger.orders(waiting=True) == []
    assert simulation.ledger.releases()[0].yanked == "once more"


def test_who_gets_the_lock_settles_what_others_left_waiting(simulation: Simulation) -> None:
    with simulation.folder.lock("coordinator"), pytest.raises(KeyboardInterrupt):
        place(simulation.folder, Yank("0.1.0", None), wait=stopped)
    assert place(simulation.folder, MoveChannel("nightly", "0.1.2")).reason == "channel nightly is at 0.1.2 already"
    assert simulation.ledger.orders(waiting=True) == []
    assert simulation.ledger.releases()[0].yanked is None


def test_a_revert_says_how_model_and_tests_changed(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("coordinator.orders.place", partial(place, wait=simulation.ticks))
    second = next(row for row in simulation.ledger.updates(round=1) if row.state == "merged")
    with simulation.folder.lock("coordinator"):
        assert run(["revert", second.digest[:14], "--reason", "it lies", "--run", str(simulation.folder.root)]) == 0
    said = capsys.readouterr().out
    assert "0.1.3 is 0.1.2 without" in said
    assert "against 0.1.2:" in said
    assert "against 0.1.0, before the update:" in said
    assert "MOST CHANGED" in said
    assert "gone with them, for too few were left of their rounds: b3:" in said
    assert all(len(line) <= 80 for line in said.splitlines())
    updates = [row.digest for row in simulation.ledger.updates(round=1)]
    assert run(["revert", *updates, "--run", str(simulation.folder.root)]) == 6
    refused = capsys.readouterr().err.splitlines()
    assert len(refused) > 1
    assert all(len(line) <= 80 for line in refused)


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("yank", "0.1.0"), 2, "say why with --reason TEXT, or take it back with --undo"),
        (("yank", "0.1.0", "--undo", "--reason", "x"), 2, "say why"),
        (("revert", "b3:" + "0" * 64), 6, "no update of this run begins with"),
        (("revert", "b3:0123456789", "--accept-regression", "loss-text"), 2, "say why loss-text may get worse"),
        (("revoke", "0123456789"), 2, "say why with --reason TEXT"),
        (("revoke", "0123456789", "--reason", "x", "--since", "yesterday"), 2, "'yesterday' is no date"),
        (("revoke", "0123456789", "--undo", "--since", "2026-11-01"), 2, "--undo lifts the ban and nothing else"),
        (("revoke", "0123456789", "--reason", "x", "--since", "2026-11-01"), 6, "no contributor of this run begins"),
        (("revoke", "0123456789", "--undo"), 6, "no banned contributor of this run begins"),
    ],
    ids=str,
)
def test_what_cannot_be_ordered_is_refused_with_what_to_do(
    simulation: Simulation, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, reason: str
) -> None:
    found, told = command(capsys, *words, "--run", str(simulation.folder.root))
    assert found == code
    assert reason in told["error"]["reason"]


def test_a_folder_without_a_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotARunFolderError):
        place(RunFolder(tmp_path), Yank("0.1.0", "x"))
    monkeypatch.chdir(tmp_path)
    code, told = command(capsys, "rollback", "stable", "0.1.0")
    assert code == 2
    assert "which run?" in told["error"]["reason"]


def test_an_order_that_the_coordinator_does_not_know_is_refused_and_stops_nothing(simulation: Simulation) -> None:
    simulation.ledger.record(OrderPlaced("unknown", {"kind": "burn"}), at_ms=simulation.clock())
    simulation.ticks()
    row = simulation.ledger.order("unknown")
    assert row is not None
    assert row.done is False
    assert "knows no such order as {'kind': 'burn'}" in (row.reason or "")
