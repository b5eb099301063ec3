"""Orders in a whole run: channels moved back, updates and keys taken out of the trunk again, told as stories."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.config import RunConfig
from barnraise.releases.manifest import Manifest, read_manifest
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import read_index
from coordinator.conductor.conductor import Conductor
from coordinator.ledger import OrderRow, ReleaseRow
from coordinator.ledger.events import ChannelMoved
from coordinator.ledger.order_events import ChannelProbed, OrderSettled
from coordinator.orders import EndQuarantine, LiftBan, MoveChannel, Order, Quarantine, Revert, Revoke, Yank
from coordinator.orders.placing import append, place
from coordinator.recompute import recompute
from laws import moments
from simulator import Clock, Simulation, tiny_config

Runs = Callable[[int, Path], tuple[Simulation, list[dict[str, str]]]]
PEOPLE = {"ada": "text", "barbara": "tools", "grace": "text", "mallory": "text"}
LENIENT = {
    "check_examples": 16,
    "check_margin": 60.0,
    "tests": [{"name": "loss-text", "kind": "loss", "shard": "text", "examples": 24, "margin": 8.0}],
}


def world(root: Path, at_ms: int = Clock.now_ms, **changes: Any) -> Simulation:
    """A run, new or there already, whose tests let nearly everything pass, and whose outer rule remembers."""
    return Simulation(root, world_config(**changes), at_ms)


def world_config(**changes: Any) -> RunConfig:
    outer = {"outer": {"name": "outer-nesterov", "momentum": 0.5, "learning_rate": 0.5}}
    rounds = {"target_updates": 4, "min_updates": 2, "collect_for_s": 60, "settle_for_s": 5, "lease_for_s": 60}
    return tiny_config(**{"merge": outer, "round": rounds, "acceptance": LENIENT, **changes})


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


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A run after so many rounds of everybody, in a folder of its own, and who sent what in each."""
    kept: list[tuple[Path, int, dict[str, str]]] = []
    first = world(tmp_path_factory.mktemp("past") / "run")

    def after(rounds: int, root: Path) -> tuple[Simulation, list[dict[str, str]]]:
        while len(kept) < rounds:
            sent = released(first, f"0.1.{len(kept) + 1}")
            copy = first.folder.root.with_name(str(len(kept)))
            shutil.copytree(first.folder.root, copy)
            kept.append((copy, first.clock(), sent))
        shutil.copytree(kept[rounds - 1][0], root, dirs_exist_ok=True)
        return world(root, at_ms=kept[rounds - 1][1]), [sent for _, _, sent in kept[:rounds]]

    return after


def release_of(simulation: Simulation, version: str) -> ReleaseRow:
    row = simulation.ledger.release(version)
    assert row is not None
    return row


def manifest_of(simulation: Simulation, version: str) -> Manifest:
    digest = release_of(simulation, version).manifest_digest
    return read_manifest(simulation.desk.public.read(digest), version)


def made(row: ReleaseRow) -> tuple[str, str | None]:
    return row.model_digest, row.state_digest


def test_a_reverted_update_of_the_last_round_was_never_sent_as_far_as_model_and_state_go(
    past: Runs, tmp_path: Path
) -> None:
    never, _ = past(1, tmp_path / "never")
    released(never, "0.1.2", "mallory")
    sent, (_, by) = past(2, tmp_path / "sent")
    assert made(release_of(sent, "0.1.2")) != made(release_of(never, "0.1.2"))
    row = done(sent, Revert((by["mallory"],), "it lies"))
    assert row.result is not None
    assert row.result["version"] == "0.1.3"
    assert made(release_of(sent, "0.1.3")) == made(release_of(never, "0.1.2"))
    assert sent.ledger.channels() == {"nightly": "0.1.3"}
    update = sent.ledger.update(by["mallory"])
    assert update is not None
    assert (update.state, update.version, update.reverted_in) == ("reverted", "0.1.2", "0.1.3")


def test_later_rounds_are_merged_again_and_anybody_can_repeat_it(past: Runs, tmp_path: Path) -> None:
    simulation, (first, *_) = past(4, tmp_path)
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


def test_a_second_revert_goes_on_from_the_line_of_the_first(past: Runs, tmp_path: Path) -> None:
    simulation, (first, second) = past(2, tmp_path)
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


def test_in_whatever_order_updates_are_reverted_the_trunk_is_the_same(past: Runs, tmp_path: Path) -> None:
    ends = set()
    for number, chosen in enumerate([("mallory", "ada"), ("ada", "mallory"), ("both", "")]):
        simulation, (by, by2) = past(2, tmp_path / str(number))
        names = {"mallory": (by["mallory"],), "ada": (by2["ada"],), "both": (by["mallory"], by2["ada"]), "": ()}
        for name in chosen:
            if names[name]:
                done(simulation, Revert(names[name]))
        head = simulation.ledger.head()
        assert head is not None
        ends.add(made(head))
    assert len(ends) == 1


def test_a_round_with_too_few_left_drops_out_as_it_would_have(past: Runs, tmp_path: Path) -> None:
    simulation, _ = past(1, tmp_path)
    by = released(simulation, "0.1.2", "ada", "barbara")
    assert len(by) == 2
    row = done(simulation, Revert((by["mallory"],), "it lies"))
    assert made(release_of(simulation, "0.1.3")) == made(release_of(simulation, "0.1.1"))
    assert row.result is not None
    assert row.result["dropped"] == [by["grace"]]
    assert row.result["added_to_another_base"] == []
    kept = simulation.ledger.update(by["grace"])
    assert kept is not None
    assert (kept.state, kept.reason) == ("reverted", "too few were left of its round")
    assert recompute(FolderSource(simulation.folder.root), "0.1.3")[-1].updates == 0


def test_what_follows_a_round_that_dropped_out_is_added_to_another_base(tmp_path: Path) -> None:
    simulation = world(tmp_path)
    by = released(simulation, "0.1.1", "ada", "barbara")
    later = released(simulation, "0.1.2")
    row = done(simulation, Revert((by["mallory"],)))
    assert row.result is not None
    assert row.result["added_to_another_base"] == sorted(later.values())


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


def test_a_crash_at_any_turn_of_a_revert_gives_one_release_or_none(past: Runs, tmp_path: Path) -> None:
    untouched, (_, by) = past(2, tmp_path / "untouched")
    done(untouched, Revert((by["mallory"],)))
    expected = made(release_of(untouched, "0.1.3"))
    for crash_after in moments(range(1, 12), 6):
        simulation, _ = past(2, tmp_path / str(crash_after))
        append(simulation.ledger, Revert((by["mallory"],)), simulation.clock())
        simulation.ticks(crash_after)
        assert len(simulation.ledger.releases()) in {3, 4}
        simulation.start()
        simulation.runs_until_tagged("0.1.3")
        simulation.ticks(3)
        assert [release.version for release in simulation.ledger.releases()] == ["0.1.0", "0.1.1", "0.1.2", "0.1.3"]
        assert made(release_of(simulation, "0.1.3")) == expected
        assert simulation.ledger.orders(waiting=True) == []
        assert [isinstance(e.event, OrderSettled) for e in simulation.ledger.events_after(0)].count(True) == 1


def test_an_open_round_ends_for_a_revert_and_blames_nobody(past: Runs, tmp_path: Path) -> None:
    simulation, (by,) = past(1, tmp_path)
    waiting = simulation.contributor("ada").delivers(lambda delta_P: np.float32(0.5) * delta_P)
    simulation.ticks(2)
    done(simulation, Revert((by["mallory"],), "it lies"))
    row = simulation.ledger.round(2)
    assert row is not None
    assert (row.phase, row.reason) == ("abandoned", "updates are taken out of the trunk that it was open from: it lies")
    update = simulation.ledger.update(waiting)
    assert update is not None
    assert update.state == "unmerged"
    simulation.ticks(2)
    current = simulation.ledger.current_round()
    assert current is not None
    assert (current.number, current.base_version) == (3, "0.1.2")


@pytest.mark.parametrize("turns", range(1, 16, 2))
def test_a_round_in_any_phase_ends_for_a_revert(past: Runs, tmp_path: Path, turns: int) -> None:
    simulation, (by,) = past(1, tmp_path)
    deliver(simulation)
    simulation.ticks(turns)
    if simulation.ledger.release("0.1.2") is None:
        done(simulation, Revert((by["mallory"],)))
        assert {row.state for row in simulation.ledger.updates(round=2)} <= {"unmerged", "received"}
        assert release_of(simulation, "0.1.2").reverts == [by["mallory"]]
        simulation.ticks(6)
        assert {row.state for row in simulation.ledger.updates(round=2)} == {"unmerged"}


def test_the_trunk_goes_on_from_where_nightly_was_rolled_back_to(past: Runs, tmp_path: Path) -> None:
    simulation, _ = past(4, tmp_path)
    back = release_of(simulation, "0.1.1")
    assert back.state_digest is not None
    assert not simulation.desk.private.has(back.state_digest)  # tidied away: it is computed again
    simulation.ticks(2)
    row = done(simulation, MoveChannel("nightly", "0.1.1", "it forgets"))
    assert "moves back from 0.1.4 to 0.1.1: it forgets" in (row.reason or "")
    left = simulation.ledger.round(5)
    assert left is not None
    assert (left.phase, left.reason) == ("abandoned", "the trunk goes on from 0.1.1, the round was open from 0.1.4")
    simulation.ticks(30)
    assert simulation.desk.private.has(back.state_digest)
    released(simulation, "0.1.5")
    new = release_of(simulation, "0.1.5")
    assert (new.parent, new.reason.endswith("; it goes on from 0.1.1")) == ("0.1.1", True)
    assert simulation.ledger.channels() == {"nightly": "0.1.5"}
    versions = [one.version for one in recompute(FolderSource(simulation.folder.root), "0.1.5")]
    assert versions == ["0.1.1", "0.1.5"]


def test_a_round_that_a_crash_left_about_to_be_tagged_does_not_undo_a_rollback(
    past: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation, _ = past(1, tmp_path)
    deliver(simulation)
    with monkeypatch.context() as patched:
        patched.setattr(Conductor, "_tag", lambda *_: None)  # killed between the verdict and the tag
        simulation.ticks(20)
    current = simulation.ledger.current_round()
    assert current is not None
    assert (current.phase, current.state["decided_at_ms"] is not None) == ("testing", True)
    place(simulation.folder, MoveChannel("nightly", "0.1.0"))  # by the command itself: no coordinator is running
    simulation.start()
    simulation.ticks(2)
    assert simulation.ledger.channels() == {"nightly": "0.1.0"}
    left = simulation.ledger.round(current.number)
    assert left is not None
    assert (left.phase, left.reason) == ("abandoned", "the trunk goes on from 0.1.0, the round was open from 0.1.1")


def test_what_left_the_trunk_by_a_rollback_cannot_be_reverted(past: Runs, tmp_path: Path) -> None:
    simulation, (_, by) = past(2, tmp_path)
    done(simulation, MoveChannel("nightly", "0.1.1"))
    row = ordered(simulation, Revert((by["mallory"],)))
    assert row.done is False
    assert "was merged in 0.1.2, which the trunk does not go on from" in (row.reason or "")


def test_what_was_reverted_can_be_reverted_again_where_the_trunk_went_back_to_before_that(
    past: Runs, tmp_path: Path
) -> None:
    simulation, (_, by) = past(2, tmp_path)
    done(simulation, Revert((by["mallory"],)))  # 0.1.3
    done(simulation, MoveChannel("nightly", "0.1.2"))
    done(simulation, Revert((by["mallory"],)))  # 0.1.4
    assert made(release_of(simulation, "0.1.4")) == made(release_of(simulation, "0.1.3"))
    update = simulation.ledger.update(by["mallory"])
    assert update is not None
    assert (update.state, update.reverted_in) == ("reverted", "0.1.4")
    row = ordered(simulation, Revert((by["mallory"],)))
    assert row.done is False
    assert "was reverted in 0.1.4 already" in (row.reason or "")
    done(simulation, MoveChannel("nightly", "0.1.3"))
    row = done(simulation, Revert((by["mallory"],)))
    assert "0.1.3 was made without" in (row.reason or "")
    assert len(simulation.ledger.releases()) == 5


def test_a_yanked_release_stays_listed_with_its_reason(past: Runs, tmp_path: Path) -> None:
    simulation, _ = past(1, tmp_path)
    done(simulation, Yank("0.1.0", "untrained"))
    index = read_index(FolderSource(simulation.folder.root)).index
    assert index.yanked == {"0.1.0": "untrained", "0.1.1": None}
    done(simulation, Yank("0.1.0", None))
    assert read_index(FolderSource(simulation.folder.root)).index.yanked["0.1.0"] is None


def test_everything_that_a_revoked_key_sent_is_taken_out_and_nothing_more_is_taken_in(
    past: Runs, tmp_path: Path
) -> None:
    never = world(tmp_path / "never")
    released(never, "0.1.1", "mallory")
    simulation, (by,) = past(1, tmp_path / "sent")
    mallory = simulation.contributor("mallory")
    row = done(simulation, Revoke(mallory.identity.public[:12], 0, "it lies"))
    assert "is banned: it lies" in (row.reason or "")
    assert made(release_of(simulation, "0.1.2")) == made(release_of(never, "0.1.1"))
    gone = simulation.ledger.update(by["mallory"])
    assert gone is not None
    assert gone.state == "reverted"
    late = mallory.delivers(lambda delta_P: np.float32(0.25) * delta_P)  # an upload that had begun before
    simulation.ticks(2)
    turned_away = simulation.ledger.update(late)
    assert turned_away is not None
    assert (turned_away.state, turned_away.found_by) == ("rejected", "ban")
    released(simulation, "0.1.3", "mallory")
    assert mallory.identity.public not in {one.contributor for one in manifest_of(simulation, "0.1.3").updates}
    done(simulation, LiftBan(mallory.identity.public, "a mistake"))
    assert simulation.ledger.bans() == {}
    released(simulation, "0.1.4")
    assert mallory.identity.public in {one.contributor for one in manifest_of(simulation, "0.1.4").updates}


def test_what_comes_from_quarantine_is_measured_and_not_merged(tmp_path: Path) -> None:
    simulation = world(tmp_path)
    mallory = simulation.contributor("mallory")
    released(simulation, "0.1.1")
    done(simulation, Quarantine(mallory.identity.public[:12], "too good to be true"))
    by = released(simulation, "0.1.2")
    held = simulation.ledger.update(by["mallory"])
    assert held is not None
    assert held.state == "unmerged"
    assert "in quarantine: too good to be true" in (held.reason or "")
    assert "score" in held.evidence
    assert mallory.identity.public not in {one.contributor for one in manifest_of(simulation, "0.1.2").updates}
    assert len(manifest_of(simulation, "0.1.2").updates) == len(by) - 1
    done(simulation, EndQuarantine(mallory.identity.public, "it is as good"))
    released(simulation, "0.1.3")
    assert mallory.identity.public in {one.contributor for one in manifest_of(simulation, "0.1.3").updates}


def test_a_ban_ends_a_round_that_has_an_update_of_the_key_and_rejects_only_that(tmp_path: Path) -> None:
    simulation = world(tmp_path)
    by = deliver(simulation, "ada")
    simulation.ticks(5)
    row = done(simulation, Revoke(simulation.contributor("mallory").identity.public, 0, "it lies"))
    assert "the trunk has nothing that it sent since then" in (row.reason or "")
    simulation.ticks(3)
    states = {name: update.state for name, digest in by.items() if (update := simulation.ledger.update(digest))}
    assert states == {"barbara": "unmerged", "grace": "unmerged", "mallory": "rejected"}
    assert [release.version for release in simulation.ledger.releases()] == ["0.1.0"]


PROBE = {"name": "drift", "kind": "loss", "shard": "tools", "examples": 24}
PROBES = {"nightly": {"probes": [PROBE]}}


def test_a_release_that_a_probe_shows_to_be_worse_moves_the_channel_back_and_the_trunk_with_it(tmp_path: Path) -> None:
    simulation = world(tmp_path, channels=PROBES)
    released(simulation, "0.1.1")
    simulation.ticks(6)
    (nightly,) = simulation.ledger.channel_rows()
    assert nightly.probe is not None
    assert (nightly.version, nightly.probe["against"], nightly.probe["passed"]) == ("0.1.1", "0.1.0", True)
    for name, shard in PEOPLE.items():  # what the acceptance tests let pass
        simulation.contributor(name, shard).delivers(lambda delta_P: np.float32(-3.0) * delta_P)
    simulation.runs_until_tagged("0.1.2")
    simulation.ticks(12)
    (nightly,) = simulation.ledger.channel_rows()
    assert (nightly.version, nightly.previous) == ("0.1.1", "0.1.2")
    assert (nightly.reason or "").startswith("back from 0.1.2: drift ")
    told = [e.event for e in simulation.ledger.events_after(0) if e.event.kind == "channel-probed"]
    assert [(event.version, event.passed) for event in told if isinstance(event, ChannelProbed)] == [
        ("0.1.1", True),
        ("0.1.2", False),
    ]
    assert read_index(FolderSource(simulation.folder.root)).index.moved["nightly"] == nightly.reason
    current = simulation.ledger.current_round()
    assert current is not None
    assert (current.phase, current.base_version) == ("collecting", "0.1.1")
    released(simulation, "0.1.3")
    assert release_of(simulation, "0.1.3").parent == "0.1.1"


def test_a_crash_at_any_turn_of_a_probe_moves_the_channel_back_once(tmp_path: Path) -> None:
    first = world(tmp_path / "first", channels=PROBES)
    released(first, "0.1.1")
    first.ticks(6)
    for name, shard in PEOPLE.items():
        first.contributor(name, shard).delivers(lambda delta_P: np.float32(-3.0) * delta_P)
    first.runs_until_tagged("0.1.2")
    for crash_after in range(1, 5):
        root = tmp_path / str(crash_after)
        shutil.copytree(first.folder.root, root)
        simulation = world(root, at_ms=first.clock(), channels=PROBES)
        simulation.ticks(crash_after)
        simulation.start()
        simulation.ticks(8)
        moves = [e.event for e in simulation.ledger.events_after(0) if isinstance(e.event, ChannelMoved)]
        assert [(move.old, move.new) for move in moves][-2:] == [("0.1.1", "0.1.2"), ("0.1.2", "0.1.1")]


def test_a_probe_without_windows_says_so_and_moves_nothing(past: Runs, tmp_path: Path) -> None:
    simulation, _ = past(1, tmp_path)
    simulation.config = world_config(channels={"nightly": {"probes": [{**PROBE, "examples": 9999}]}})
    simulation.start()
    simulation.ticks(6)
    (nightly,) = simulation.ledger.channel_rows()
    assert nightly.probe is not None
    assert "not probed: drift looks at 9999 examples" in nightly.probe["reason"]
    assert nightly.version == "0.1.1"
