"""Rotating on a contributor's machine: every run is told, folders go along, and a crash is completed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from barnraise.errors import (
    FolderLockedError,
    RefusedError,
    RetiredKeyError,
    SuccessionError,
    UnreachableError,
    UsageError,
)
from barnraise.identity import Identity
from barnraise.recovery import RecoveryCode
from contributor.client import GatewayClient
from contributor.first_use import FirstUse, first_use, load_card
from contributor.folder import NodeFolder
from contributor.key_change import KeyChanges, move_folders, places_of, retired_path
from contributor.transport import Answer
from doorstep import Doorstep, doorstep

URL, OTHER = "http://toy.test", "http://gone.test"
DAYS_3_MS = 3 * 24 * 3600 * 1000


class DoorTransport:
    """A gateway in this process; every URL but its own is silent."""

    def __init__(self, door: Doorstep, url: str) -> None:
        self._door, self._url = door, url

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer:
        if self._url != URL:
            raise UnreachableError("no connection (Connection refused)")
        answer = self._door.call(method, path, body or b"")
        return Answer(answer.status, answer.body)


class Machine:
    """A contributor's computer: a key, the folder of nodes, and one run that it has worked for."""

    def __init__(self, root: Path, door: Doorstep) -> None:
        self.door, self.key, self.home = door, root / "config" / "identity.key", root / "state"
        self.first: FirstUse = first_use(self.key)
        self.changes = KeyChanges(self.home, lambda: door.now_ms, lambda url: GatewayClient(DoorTransport(door, url)))

    @property
    def identity(self) -> Identity:
        return Identity.load(self.key)

    def works_for(self, run: str, url: str) -> NodeFolder:
        folder = NodeFolder.of(self.home, run, self.identity.public)
        with folder.lock():
            folder.url.write_text(f"{url}\n")
        (folder.root / "residual").write_text(run)
        return folder

    def joins(self) -> NodeFolder:
        answer = self.door.ask(self.identity, recovery=self.first.card)
        assert answer.status == 200
        return self.works_for("toy", URL)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with doorstep(tmp_path / "run") as door:
        yield Machine(tmp_path, door)


def test_a_rotation_takes_history_and_folder_along(machine: Machine) -> None:
    machine.joins()
    old = machine.identity
    done = machine.changes.rotate(machine.key)
    assert [(history.run, history.keys[-1].key) for history in done.histories] == [("toy", done.new)]
    assert machine.identity.public == done.new != old.public
    assert Identity.load(retired_path(machine.key, old.public)).public == old.public
    [place] = places_of(machine.home, done.new)
    assert (place.run, (place.folder.root / "residual").read_text()) == ("toy", "toy")
    assert places_of(machine.home, old.public) == []
    assert machine.door.ask(machine.identity).status == 200


def test_a_run_that_does_not_answer_stops_everything_before_it_begins(machine: Machine) -> None:
    machine.joins()
    machine.works_for("gone", OTHER)
    old = machine.identity.public
    with pytest.raises(UnreachableError, match="--without gone"):
        machine.changes.rotate(machine.key)
    assert machine.identity.public == old
    assert machine.door.ask(machine.identity).status == 200
    done = machine.changes.rotate(machine.key, without={"gone"})
    assert done.left == ["gone"]
    assert [place.run for place in places_of(machine.home, old)] == ["gone"]


def test_every_folder_knows_the_file_of_its_key_after_a_rotation(machine: Machine) -> None:
    moved, left = machine.joins(), machine.works_for("gone", OTHER)
    for folder in (moved, left):
        folder.remember_key(machine.key)
    done = machine.changes.rotate(machine.key, without={"gone"})
    [place] = places_of(machine.home, done.new)
    assert place.folder.join_options.endswith(f" --key {machine.key}")
    assert left.join_options.endswith(f" --key {done.kept}")
    assert Identity.load(done.kept).public == done.old


def test_a_note_that_cannot_be_written_stops_no_rotation(machine: Machine) -> None:
    folder, old = machine.joins(), machine.identity.public
    (folder.key / "in the way").mkdir(parents=True)
    done = machine.changes.rotate(machine.key)
    assert machine.identity.public == done.new != old
    assert [place.run for place in places_of(machine.home, done.new)] == ["toy"]


def test_a_node_that_works_is_not_rotated_away_from(machine: Machine) -> None:
    folder = machine.joins()
    with folder.lock(), pytest.raises(FolderLockedError, match="let it finish first"):
        machine.changes.rotate(machine.key)
    assert machine.door.ask(machine.identity).status == 200


@pytest.mark.parametrize("crash", ["told", "moved"])
def test_a_crash_is_completed_by_rotating_again(machine: Machine, monkeypatch: pytest.MonkeyPatch, crash: str) -> None:
    machine.joins()
    where = "contributor.key_change." + {"told": "move_folders", "moved": "swap"}[crash]

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(where, die)
        with pytest.raises(KeyboardInterrupt):
            machine.changes.rotate(machine.key)
    done = machine.changes.rotate(machine.key)
    assert machine.identity.public == done.new
    assert [place.run for place in places_of(machine.home, done.new)] == ["toy"]
    assert len(machine.door.ledger.keys.chain(done.old)) == 1


def test_a_key_that_was_rotated_elsewhere_says_so_before_anything_is_changed(machine: Machine) -> None:
    folder = machine.joins()
    copy = machine.key.read_text()
    machine.changes.rotate(machine.key)
    machine.key.write_text(copy)
    (machine.home / "toy" / machine.identity.public[:8]).mkdir()
    (machine.home / "toy" / machine.identity.public[:8] / "coordinator.url").write_text(URL)
    with pytest.raises(RetiredKeyError, match="in-place-of-old"):
        machine.changes.rotate(machine.key)
    assert folder.root.exists()


def test_a_run_that_never_saw_the_key_only_has_its_folder_moved(machine: Machine) -> None:
    machine.works_for("toy", URL)
    done = machine.changes.rotate(machine.key)
    assert done.histories == []
    assert [place.run for place in places_of(machine.home, done.new)] == ["toy"]


def test_a_code_makes_a_card_for_the_new_key(machine: Machine) -> None:
    machine.joins()
    code = machine.first.code
    assert code is not None
    with pytest.raises(UsageError, match="not the recovery code"):
        machine.changes.rotate(machine.key, code=RecoveryCode(b"x" * 18))
    done = machine.changes.rotate(machine.key, code=code)
    assert load_card(machine.key, done.new) == code.card_for(done.new)


def test_a_folder_of_the_new_key_is_not_overwritten(machine: Machine) -> None:
    machine.works_for("toy", URL)
    old, other = machine.identity.public, Identity.from_seed(b"o" * 32).public
    (machine.home / "toy" / other[:8]).mkdir()
    assert move_folders(machine.home, old, other) == [machine.home / "toy" / old[:8]]


def test_a_lost_key_is_recovered_with_the_code_and_its_folder_is_found_again(machine: Machine) -> None:
    machine.joins()
    code, lost = machine.first.code, machine.identity.public
    assert code is not None
    machine.key.unlink()
    told = machine.changes.recover(URL, machine.key, code)
    assert told.pending is not None
    assert told.pending.new == machine.identity.public != lost
    assert "72 h" in told.reason
    assert [place.run for place in places_of(machine.home, lost)] == ["toy"]
    machine.door.now_ms += DAYS_3_MS
    done = machine.changes.recover(URL, machine.key, code)
    assert done.keys[-1].key == machine.identity.public
    [place] = places_of(machine.home, machine.identity.public)
    assert (place.run, place.folder.key.read_text()) == ("toy", f"{machine.key}\n")


def test_a_code_of_somebody_else_recovers_nothing(machine: Machine) -> None:
    machine.joins()
    with pytest.raises(RefusedError, match="no contributor of this run has registered this recovery code"):
        machine.changes.recover(URL, machine.key.with_name("other.key"), RecoveryCode(b"x" * 18))


def test_whoever_still_has_the_key_objects(machine: Machine) -> None:
    machine.joins()
    with pytest.raises(SuccessionError, match="nothing to do"):
        machine.changes.object(machine.identity)
    code = machine.first.code
    assert code is not None
    machine.changes.recover(URL, machine.key.with_name("thief.key"), code)
    with pytest.raises(SuccessionError, match="identity object"):
        machine.changes.rotate(machine.key)
    [told] = machine.changes.object(machine.identity)
    assert (told.pending, told.recovery) == (None, None)
