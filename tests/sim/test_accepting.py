"""Regressions that an operator accepts by name: which candidate is released for it, once, and what is told of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.cli import run
from barnraise.config import RunConfig
from barnraise.releases.manifest import Manifest, read_manifest
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import read_index
from coordinator.conductor.conductor import Conductor
from coordinator.ledger import OrderRow
from coordinator.ledger.order_events import OrderSettled
from coordinator.orders import AcceptRegression, MoveChannel, WithdrawAcceptance, accept, place
from coordinator.orders.placing import append
from laws import moments
from simulator import Clock, Simulation, tiny_config

TOLD = dict[str, Any]
PEOPLE = {"ada": "text", "barbara": "tools", "grace": "text"}
WHY = "traded for tools"
WORSE, BETTER = -0.5, 0.5
"""Times what training finds."""
Begun = Callable[[Path], Simulation]


def config_of(text_margin: float = 0.02, tools_margin: float = 8.0, **more: Any) -> RunConfig:
    """A run whose tests of tools let everything pass, and those of text nothing that is worse."""
    tests = [
        {"name": "loss-text", "kind": "loss", "shard": "text", "examples": 24, "margin": text_margin},
        {"name": "loss-tools", "kind": "loss", "shard": "tools", "examples": 24, "margin": tools_margin},
    ]
    tests += [{"name": "aside", "kind": "loss", "shard": "text", "examples": 24, "margin": 0.02, "supported": False}]
    acceptance = {"check_examples": 16, "check_margin": 60.0, "tests": tests}
    return tiny_config(acceptance=acceptance, **more)


def world(root: Path, at_ms: int = Clock.now_ms, **changes: Any) -> Simulation:
    return Simulation(root, config_of(**changes), at_ms)


def deliver(simulation: Simulation, scale: float, **others: float) -> dict[str, str]:
    """A round of everybody, who make the model better or, with a negative scale, worse; others have their own."""
    simulation.ticks()
    current = simulation.ledger.current_round()
    assert current is not None
    scales = {**dict.fromkeys(PEOPLE, scale), **others}
    return {
        name: simulation.contributor(name, PEOPLE.get(name, "text")).delivers(times(scale, current.number))
        for name, scale in scales.items()
    }


def times(scale: float, number: int) -> Callable[[Any], Any]:
    """What somebody makes of what training found; no round is like another."""
    size = np.float32(scale * (1 + number / 1024))
    return lambda delta_P: size * delta_P


def ends(simulation: Simulation, phase: str, number: int, most: int = 400) -> None:
    """Tick until a round has ended in this way."""
    for _ in range(most):
        simulation.ticks()
        row = simulation.ledger.round(number)
        if row is not None and row.phase in {"released", "rejected", "abandoned"}:
            assert row.phase == phase, row.reason
            return
    raise AssertionError([(row.number, row.phase, row.reason) for row in simulation.ledger.rounds()])


def searching(simulation: Simulation, most: int = 100) -> None:
    for _ in range(most):
        simulation.ticks()
        assert simulation.conductor.round is not None
        if simulation.conductor.round.searching:
            return
    raise AssertionError("no candidate failed")


def accepts(simulation: Simulation, *tests: str, number: int | None = None) -> AcceptRegression:
    return accept(simulation.ledger, simulation.config.acceptance, tests or ("loss-text",), WHY, number)


def order(simulation: Simulation, order_id: str) -> OrderRow:
    row = simulation.ledger.order(order_id)
    assert row is not None
    return row


def manifest_of(simulation: Simulation, version: str) -> Manifest:
    row = simulation.ledger.release(version)
    assert row is not None, [one.version for one in simulation.ledger.releases()]
    return read_manifest(simulation.desk.public.read(row.manifest_digest), version)


def copies(first: Simulation) -> Begun:
    def begun(root: Path) -> Simulation:
        shutil.copytree(first.folder.root, root, dirs_exist_ok=True)
        return world(root, first.clock())

    return begun


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A run whose first round was released as 0.1.1, in a folder of its own."""
    first = world(tmp_path_factory.mktemp("released") / "run")
    deliver(first, 1.0)
    ends(first, "released", 1)
    return copies(first)


@pytest.fixture(scope="module")
def rejected(released: Begun, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """The same, whose second round was rejected for loss-text."""
    first = released(tmp_path_factory.mktemp("rejected") / "run")
    deliver(first, WORSE)
    ends(first, "rejected", 2)
    return copies(first)


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, TOLD]:
    code = run([*words, "--json"])
    told: TOLD = json.loads(capsys.readouterr().out)
    return code, told


def test_the_next_candidate_that_fails_what_was_accepted_is_released_as_a_major_version(
    rejected: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation = rejected(tmp_path)
    folder = str(simulation.folder.root)
    words = ("release", "--accept-regression", "loss-text", "--reason", WHY, "--run", folder)
    code, told = command(capsys, *words)
    assert (code, told["result"]["waits"]) == (0, True)
    assert "loss-text may be worse than in 0.1.1 by" in told["result"]["reason"]
    unmerged = {row.digest for row in simulation.ledger.updates(round=2)}
    simulation.ticks(3)
    code, told = command(capsys, *words[:-2], "--run", folder)
    assert (code, told["result"]["waits"]) == (0, False), "the same once more changes nothing"
    assert "accepts exactly this already" in told["result"]["reason"]

    sent = deliver(simulation, WORSE)
    ends(simulation, "released", 3)
    release = manifest_of(simulation, "0.2.0")
    assert (release.bump, [(one.test, one.reason) for one in release.accepted]) == ("major", [("loss-text", WHY)])
    assert f"the operator accepted that loss-text got worse: {WHY}" in release.reason
    assert {update.digest for update in release.updates} == set(sent.values())
    assert not {update.digest for update in release.updates} & unmerged, "what may have been folded back counts once"
    assert release.suite == simulation.config.acceptance.digest
    index = read_index(FolderSource(simulation.folder.root)).index
    assert [entry.accepted for entry in index.releases] == [{}, {}, {"loss-text": WHY}]
    assert (
        f"Released though loss\\-text got worse: {WHY}"
        in bytes(simulation.desk.public.read(release.card.digest)).decode()
    )
    row = simulation.ledger.round(3)
    assert row is not None
    assert row.reason == f"tagged 0.2.0; the operator accepted that loss-text got worse: {WHY}"
    assert row.verdict is not None
    assert row.verdict["passed"] is False
    first = next(one for one in simulation.ledger.orders() if one.order["kind"] == "accept-regression")
    assert (first.done, first.result) == (True, {"version": "0.2.0", "accepted": {"loss-text": WHY}})

    assert run(["show", "0.2.0", "--from", folder]) == 0
    shown = capsys.readouterr().out
    assert f"loss-text, accepted: {WHY}" in shown
    assert release.suite in shown
    assert run(["ls", "--from", folder]) == 0
    assert f"loss-text got worse: {WHY}" in capsys.readouterr().out
    assert run(["round", "show", "3", "--from", folder]) == 0
    assert "operator accepted that loss-text got worse" in " ".join(capsys.readouterr().out.split())
    assert run(["why", sent["ada"], "--from", folder]) == 0
    assert "0.2.0" in capsys.readouterr().out

    deliver(simulation, WORSE)
    ends(simulation, "rejected", 4)  # it was accepted once


def test_the_candidate_whose_culprits_are_being_looked_for_is_released_as_it_is(
    released: Begun, tmp_path: Path
) -> None:
    simulation = released(tmp_path)
    deliver(simulation, WORSE, barbara=BETTER)  # the search would find the others
    searching(simulation)
    current = simulation.conductor.round
    assert current is not None
    assert current.candidate is not None
    with simulation.folder.lock("coordinator"):
        settled = place(simulation.folder, accepts(simulation), wait=simulation.ticks)
    assert settled.waits, "the command does not wait for rounds"
    ends(simulation, "released", 2)
    assert manifest_of(simulation, "0.2.0").model_digest == current.candidate.model_digest
    assert {row.state for row in simulation.ledger.updates(round=2)} == {"merged"}
    simulation.ticks(60)  # what the search had begun comes back, and changes nothing
    assert len(simulation.ledger.releases()) == 3


@pytest.mark.parametrize("open_round", [True, False], ids=["while it is searched", "for the next"])
def test_a_crash_at_any_turn_releases_once(released: Begun, tmp_path: Path, open_round: bool) -> None:
    first = released(tmp_path / "first")
    deliver(first, WORSE)
    if open_round:
        searching(first)
        order_id = append(first.ledger, accepts(first), first.clock())
    else:
        ends(first, "rejected", 2)
        order_id = append(first.ledger, accepts(first), first.clock())
        deliver(first, WORSE)
    for crash_after in moments(range(12), 5):
        root = tmp_path / str(crash_after)
        shutil.copytree(first.folder.root, root)
        simulation = world(root, first.clock())
        simulation.ticks(crash_after)
        simulation.start()
        simulation.runs_until_tagged("0.2.0")
        simulation.start()
        simulation.ticks(3)
        assert [row.version for row in simulation.ledger.releases()] == ["0.1.0", "0.1.1", "0.2.0"]
        assert order(simulation, order_id).done
        settled = [one for one in simulation.ledger.events_after(0) if isinstance(one.event, OrderSettled)]
        assert len(settled) == 1
        merged = [row.version for row in simulation.ledger.updates() if row.state == "merged"]
        assert sorted(merged) == [*["0.1.1"] * 3, *["0.2.0"] * 3]


@pytest.mark.parametrize("taken_back", [False, True])
def test_a_crash_between_verdict_and_tag(
    released: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken_back: bool
) -> None:
    simulation = released(tmp_path)
    deliver(simulation, WORSE)
    searching(simulation)
    order_id = append(simulation.ledger, accepts(simulation), simulation.clock())
    with monkeypatch.context() as patched:
        patched.setattr(Conductor, "_tag", lambda *_: None)
        simulation.ticks(3)
    if taken_back:
        place(simulation.folder, WithdrawAcceptance("not after all"))
    simulation.start()
    simulation.ticks(3)
    row = simulation.ledger.round(2)
    assert row is not None
    if taken_back:
        assert (row.phase, order(simulation, order_id).reason) == ("abandoned", "taken back: not after all")
        assert "which is over: taken back: not after all" in row.reason
        assert {update.state for update in simulation.ledger.updates(round=2)} == {"unmerged"}
    else:
        assert (row.phase, order(simulation, order_id).done) == ("released", True)


def test_what_passes_is_released_as_ever_and_ends_what_was_accepted(rejected: Begun, tmp_path: Path) -> None:
    simulation = rejected(tmp_path)
    order_id = append(simulation.ledger, accepts(simulation), simulation.clock())
    deliver(simulation, BETTER)
    ends(simulation, "released", 3)
    assert manifest_of(simulation, "0.1.2").accepted == ()
    simulation.ticks(2)
    row = order(simulation, order_id)
    assert row.done is False
    assert "the trunk goes on from 0.1.2 since" in (row.reason or "")
    deliver(simulation, WORSE)
    ends(simulation, "rejected", 4)


def test_rolling_back_ends_what_was_accepted_even_if_the_trunk_comes_back(rejected: Begun, tmp_path: Path) -> None:
    simulation = rejected(tmp_path)
    deliver(simulation, BETTER)
    ends(simulation, "released", 3)
    deliver(simulation, WORSE)
    ends(simulation, "rejected", 4)
    order_id = append(simulation.ledger, accepts(simulation), simulation.clock())
    for version in ("0.1.1", "0.1.2"):
        append(simulation.ledger, MoveChannel("nightly", version), simulation.clock())
    simulation.ticks(4)
    assert order(simulation, order_id).done is False


def test_what_is_worse_than_what_was_seen_or_fails_elsewhere_is_not_released(rejected: Begun, tmp_path: Path) -> None:
    simulation = rejected(tmp_path)
    order_id = append(simulation.ledger, accepts(simulation), simulation.clock())
    deliver(simulation, 2 * WORSE)
    searching(simulation)
    row = simulation.ledger.round(3)
    assert row is not None
    assert f"order {order_id} does not cover it: loss-text is worse by" in row.reason
    ends(simulation, "rejected", 3)
    simulation.config = config_of(tools_margin=0.02)
    simulation.start()
    deliver(simulation, WORSE)
    searching(simulation)
    row = simulation.ledger.round(4)
    assert row is not None
    assert "does not cover it: loss-tools failed too, and nobody accepted that" in row.reason
    ends(simulation, "rejected", 4)
    assert order(simulation, order_id).settled_at_ms is None
    assert len(simulation.ledger.releases()) == 2


def test_what_was_accepted_of_one_question_is_not_accepted_of_another(rejected: Begun, tmp_path: Path) -> None:
    simulation = rejected(tmp_path)
    append(simulation.ledger, accepts(simulation), simulation.clock())
    changed = config_of()
    tests = tuple(
        test.model_copy(update={"shard": "tools"}) if test.name == "loss-text" else test
        for test in changed.acceptance.tests
    )
    simulation.config = changed.model_copy(
        update={"acceptance": changed.acceptance.model_copy(update={"tests": tests})}
    )
    simulation.start()
    deliver(simulation, WORSE)
    searching(simulation)
    row = simulation.ledger.round(3)
    assert row is not None
    assert "loss-text asks something else since round 2" in row.reason


def test_two_are_accepted_together_or_not_at_all(
    released: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    released(tmp_path)
    simulation = world(tmp_path, tools_margin=0.02)
    deliver(simulation, WORSE)
    ends(simulation, "rejected", 2)
    folder = str(simulation.folder.root)
    words = ("release", "--reason", WHY, "--run", folder, "--accept-regression", "loss-text")
    code, told = command(capsys, *words)
    assert code == 6
    assert "round 2 fails loss-tools too" in told["error"]["reason"]
    code, told = command(capsys, *words, "--accept-regression", "loss-tools", "--round", "2")
    assert code == 0
    deliver(simulation, WORSE)
    ends(simulation, "released", 3)
    assert [one.test for one in manifest_of(simulation, "0.2.0").accepted] == ["loss-text", "loss-tools"]


@pytest.fixture(scope="module")
def refusing(rejected: Begun, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return rejected(tmp_path_factory.mktemp("refusing"))


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        ((), 2, "name a test that may get worse: --accept-regression TEST"),
        (("--accept-regression", "loss-text"), 2, "say why loss-text may get worse"),
        (("--accept-regression", "los-text", "--reason", "x"), 6, "the suite has no test 'los-text'; it has loss-text"),
        (("--accept-regression", "aside", "--reason", "x"), 6, "aside is not supported: it may get worse as it is"),
        (("--accept-regression", "loss-tools", "--reason", "x"), 6, "loss-tools did not fail in round 2"),
        (("--accept-regression", "loss-text", "--reason", "x", "--round", "9"), 6, "there is no round 9"),
        (("--accept-regression", "loss-text", "--reason", "x" * 1001), 6, "1,001 characters, at most 1,000"),
        (("--undo",), 6, "no accepted regression waits for a candidate"),
        (("--undo", "--round", "1"), 2, "--undo takes back what was accepted"),
    ],
    ids=str,
)
def test_what_cannot_be_accepted_is_refused_with_what_to_do(
    refusing: Simulation, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, reason: str
) -> None:
    found, told = command(capsys, "release", *words, "--run", str(refusing.folder.root))
    assert found == code
    assert reason in told["error"]["reason"]


def test_nothing_can_be_accepted_before_it_was_seen_or_after_the_trunk_moved(
    tmp_path: Path, rejected: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = world(tmp_path / "fresh")
    words = ("release", "--accept-regression", "loss-text", "--reason", "x", "--run")
    code, told = command(capsys, *words, str(fresh.folder.root))
    assert code == 6
    assert "no candidate made from 0.1.0 has failed its tests" in told["error"]["reason"]
    moved = rejected(tmp_path / "moved")
    deliver(moved, BETTER)
    ends(moved, "released", 3)
    for number, reason in (("2", "the trunk goes on from 0.1.2"), ("3", "the trunk goes on from 0.1.2")):
        code, told = command(capsys, *words, str(moved.folder.root), "--round", number)
        assert code == 6
        assert reason in told["error"]["reason"]


def test_what_was_accepted_can_be_taken_back(
    rejected: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation = rejected(tmp_path)
    order_id = append(simulation.ledger, accepts(simulation), simulation.clock())
    code, told = command(capsys, "release", "--undo", "--reason", "no", "--run", str(simulation.folder.root))
    assert (code, told["result"]["reason"]) == (0, "loss-text may get worse no more")
    row = order(simulation, order_id)
    assert (row.done, row.reason) == (False, "taken back: no")
    deliver(simulation, WORSE)
    ends(simulation, "rejected", 3)
