"""A suite that changes under a run: which version the next release gets, and which suite it names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.config import RunConfig
from barnraise.releases.manifest import Manifest, read_manifest
from coordinator.acceptance.kinds.loss import Loss
from coordinator.conductor.conductor import Conductor
from coordinator.ledger.order_events import ReleasePromoted
from coordinator.orders import MoveChannel, Revert, Yank
from coordinator.orders.placing import append
from simulator import Simulation, tiny_config

TEXT = {"name": "text", "kind": "loss", "shard": "text", "examples": 24, "margin": 8.0}
TOOLS = {"name": "tools", "kind": "loss", "shard": "tools", "examples": 24, "margin": 8.0}
UNSUPPORTED = {**TOOLS, "supported": False}
Test = dict[str, Any]
Begun = Callable[[Path], Simulation]


def config_of(*tests: Test, alpha: float = 0.05) -> RunConfig:
    return tiny_config(acceptance={"alpha": alpha, "check_examples": 16, "check_margin": 60.0, "tests": tests})


def changed(simulation: Simulation, *tests: Test) -> None:
    """The run stopped, its suite changed, started again."""
    simulation.config = config_of(*tests)
    simulation.start()


def released(simulation: Simulation, version: str) -> Manifest:
    """The next round of three, which must become this release."""
    simulation.ticks()
    current = simulation.ledger.current_round()
    assert current is not None
    size = np.float32(1 + current.number / 64)
    for name, shard in {"ada": "text", "barbara": "tools", "grace": "text"}.items():
        simulation.contributor(name, shard).delivers(lambda delta_P: size * delta_P)
    simulation.runs_until_tagged(version)
    return manifest_of(simulation, version)


def manifest_of(simulation: Simulation, version: str) -> Manifest:
    row = simulation.ledger.release(version)
    assert row is not None
    return read_manifest(simulation.desk.public.read(row.manifest_digest), version)


def ordered(simulation: Simulation, *orders: Any) -> None:
    for order in orders:
        order_id = append(simulation.ledger, order, simulation.clock())
        for _ in range(200):
            simulation.ticks()
            row = simulation.ledger.order(order_id)
            assert row is not None
            if row.settled_at_ms is not None:
                break
        assert row.done, row.reason


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A run with 0.1.1, which promises ``text`` and ``tools``, in a folder of its own."""
    first = Simulation(tmp_path_factory.mktemp("first") / "run", config_of(TEXT, TOOLS))
    released(first, "0.1.1")

    def copy(root: Path) -> Simulation:
        shutil.copytree(first.folder.root, root, dirs_exist_ok=True)
        return Simulation(root, config_of(TEXT, TOOLS), first.clock())

    return copy


@pytest.mark.parametrize(
    ("tests", "version", "bump", "reason"),
    [
        ((TEXT, TOOLS), "0.1.2", "patch", "no supported test is worse"),
        ((TOOLS, {**TEXT, "guards": "prose", "weight": 2.0}), "0.1.2", "patch", "no supported test is worse"),
        ((TEXT, TOOLS, {**TEXT, "name": "more"}), "0.1.2", "minor", "newly supports more"),
        ((TEXT, TOOLS, {**TEXT, "name": "more", "supported": False}), "0.1.2", "patch", "no supported test"),
        ((TEXT,), "0.2.0", "major", "no longer supports tools"),
        ((TEXT, UNSUPPORTED), "0.2.0", "major", "no longer supports tools"),
        ((TEXT, {**TOOLS, "name": "code"}), "0.2.0", "major", "tools is called code now"),
        ((TEXT, {**TOOLS, "shard": "text"}), "0.2.0", "major", "tools asks something else now"),
        ((TEXT, {**TOOLS, "margin": 9.0}), "0.2.0", "major", "tools asks less strictly: margin 8 -> 9"),
        ((TEXT, {**TOOLS, "margin": 7.0}), "0.1.2", "minor", "tools asks more strictly: margin 8 -> 7"),
        ((TEXT, {**TOOLS, "examples": 16}), "0.2.0", "major", "examples 24 -> 16, examples at hand 24 -> 16"),
        ((TEXT, {**TEXT, "name": "more"}), "0.2.0", "major", "no longer supports tools; it newly supports more"),
    ],
)
def test_what_a_changed_suite_makes_of_the_next_version(
    begun: Begun, tmp_path: Path, tests: tuple[Test, ...], version: str, bump: str, reason: str
) -> None:
    simulation = begun(tmp_path)
    changed(simulation, *tests)
    release = released(simulation, version)
    assert release.bump == bump
    assert reason in release.reason
    assert release.suite == config_of(*tests).acceptance.digest
    report = json.loads(simulation.desk.public.read(release.acceptance.digest))
    assert report["suite"] == release.suite
    again = released(simulation, version[:-1] + str(int(version[-1]) + 1))
    assert again.bump == "patch", "it changed once"


def test_a_test_that_is_supported_again_is_new(begun: Begun, tmp_path: Path) -> None:
    simulation = begun(tmp_path)
    changed(simulation, TEXT, UNSUPPORTED)
    assert released(simulation, "0.2.0").supported_tests == ("text",)
    changed(simulation, TEXT, TOOLS)
    assert released(simulation, "0.2.1").bump == "minor"


def test_newer_code_of_a_kind_asks_something_else(
    begun: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = begun(tmp_path)
    monkeypatch.setattr(Loss, "version", Loss.version + 1)
    simulation.start()
    assert "text, tools ask something else now" in released(simulation, "0.2.0").reason


def test_a_release_names_the_suite_that_it_passed_and_not_the_one_of_when_it_was_tagged(
    begun: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = begun(tmp_path)
    for name, shard in {"ada": "text", "barbara": "tools", "grace": "text"}.items():
        simulation.contributor(name, shard).delivers()
    with monkeypatch.context() as patched:
        patched.setattr(Conductor, "_tag", lambda *_: None)  # killed between the verdict and the tag
        simulation.ticks(40)
    changed(simulation, TEXT)
    simulation.runs_until_tagged("0.1.2")
    release = manifest_of(simulation, "0.1.2")
    assert (release.suite, release.bump) == (config_of(TEXT, TOOLS).acceptance.digest, "patch")
    assert released(simulation, "0.2.0").bump == "major"


def test_the_first_release_after_a_promotion_is_the_first_major_one(begun: Begun, tmp_path: Path) -> None:
    simulation = begun(tmp_path)
    simulation.ledger.record(ReleasePromoted("0.1.1"), at_ms=simulation.clock())
    changed(simulation, TEXT, TOOLS, {**TEXT, "name": "more"})
    release = released(simulation, "1.0.0")
    assert "newly supports more; the first release since the promotion" in release.reason
    changed(simulation, TEXT, TOOLS)
    assert released(simulation, "2.0.0").bump == "major"


def test_a_revert_across_a_change_of_the_suite_is_tested_by_the_suite_of_now(begun: Begun, tmp_path: Path) -> None:
    simulation = begun(tmp_path)
    (sent, *_) = simulation.ledger.updates(round=1)
    changed(simulation, TEXT, {**TOOLS, "margin": 9.0})
    ordered(simulation, Revert((sent.digest,), "it lies"))
    release = manifest_of(simulation, "0.2.0")
    assert release.remerged is not None
    assert (release.bump, release.suite) == ("major", simulation.config.acceptance.digest)
    assert "tools asks less strictly" in release.reason


def test_what_the_newest_release_promised_holds_though_it_was_left_and_yanked(begun: Begun, tmp_path: Path) -> None:
    simulation = begun(tmp_path)
    changed(simulation, TEXT, TOOLS, {**TEXT, "name": "more"})
    released(simulation, "0.1.2")
    ordered(simulation, MoveChannel("nightly", "0.1.1"), Yank("0.1.2", "slow"))
    changed(simulation, TEXT, TOOLS)
    release = released(simulation, "0.2.0")
    assert release.reason == "it no longer supports more; it goes on from 0.1.1"
