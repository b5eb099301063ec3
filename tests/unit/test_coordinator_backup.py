"""Backups: consistent, incremental, verified when restored, old or new when interrupted."""

from __future__ import annotations

import shutil
import stat
import threading
from pathlib import Path

import pytest

from barnraise.clock import now_ms
from barnraise.errors import BackupError, FolderLockedError, UsageError
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import TrustOptions, read_index
from barnraise.run_folder import RunFolder, locked_file
from coordinator.backup import backup
from coordinator.backup_store import BackupList, BackupStore
from coordinator.fsck import fsck
from coordinator.ledger import Ledger
from coordinator.ledger.events import ContributorSeen
from coordinator.repair import repair_all
from coordinator.restore import choose, restore
from simulator import Simulation
from stored_run import contribute, copied_run, killed_after

DAY_MS = 86_400_000
NOW_MS = 1_780_000_000_000


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return copied_run(tmp_path / "run")


def everything(folder: RunFolder) -> dict[str, bytes]:
    """Files that make up the run, by path; the ledger's contents apart."""
    kept = ("public/", "private/blobs/", "private/scores/", "trust/", "keys/", "run.toml")
    files = (path for path in folder.root.rglob("*") if path.is_file())
    named = {path.relative_to(folder.root).as_posix(): path for path in files}
    return {
        name: path.read_bytes()
        for name, path in named.items()
        if name.startswith(kept) and "/incoming/" not in name and not name.endswith(".lock")
    }


def test_a_restored_run_is_the_run_and_goes_on_releasing(run: RunFolder, tmp_path: Path) -> None:
    root = (run.public / "metadata" / "1.root.json").read_bytes()
    before = everything(run)
    done = backup(run, tmp_path / "backups", now_ms=NOW_MS, with_keys=True)
    assert (done.missing, done.with_keys) == ((), True)
    shutil.rmtree(run.root)
    restored = RunFolder(tmp_path / "restored")
    told = restore(tmp_path / "backups", restored)
    assert (told.run, told.at_ms, told.missing, told.with_keys) == ("tiny", NOW_MS, (), True)
    assert everything(restored) == before
    assert fsck(restored.root).findings == ()
    simulation = Simulation(restored.root, now_ms=now_ms())
    contribute(simulation)
    simulation.runs_until_tagged("0.1.2")
    trusted = read_index(FolderSource(restored.public), TrustOptions(root, tmp_path / "trust"))
    assert [entry.version for entry in trusted.index.releases] == ["0.1.0", "0.1.1", "0.1.2"]
    simulation.ledger.close()
    assert fsck(restored.root).findings == ()


def test_a_second_backup_costs_what_is_new(run: RunFolder, tmp_path: Path) -> None:
    first = backup(run, tmp_path / "backups", now_ms=NOW_MS)
    again = backup(run, tmp_path / "backups", now_ms=NOW_MS + DAY_MS)
    assert first.added_bytes > 0
    assert (again.added_bytes, again.total_bytes) == (0, first.total_bytes)
    simulation = Simulation(run.root, now_ms=now_ms())
    contribute(simulation)
    simulation.runs_until_tagged("0.1.2")
    simulation.ledger.close()
    third = backup(run, tmp_path / "backups", now_ms=NOW_MS + 2 * DAY_MS)
    assert 0 < third.added_bytes < first.added_bytes
    assert len(BackupStore(tmp_path / "backups").all()) == 3
    told = restore(tmp_path / "backups", RunFolder(tmp_path / "old"), first.path.name[:20])
    assert told.at_ms == NOW_MS
    assert fsck(tmp_path / "old").findings == ()
    assert [row.version for row in releases(tmp_path / "old")] == ["0.1.0", "0.1.1"]


def releases(root: Path) -> list[object]:
    ledger = Ledger.open_reading(RunFolder(root).ledger)
    try:
        return list(ledger.releases())
    finally:
        ledger.close()


def test_a_backup_without_keys_holds_none(run: RunFolder, tmp_path: Path) -> None:
    backup(run, tmp_path / "backups", now_ms=NOW_MS)
    secrets = {path.read_bytes() for path in run.keys.glob("*.key")}
    assert secrets
    files = [path for path in (tmp_path / "backups").rglob("*") if path.is_file()]
    assert not any(secret in path.read_bytes() for secret in secrets for path in files)
    told = restore(tmp_path / "backups", RunFolder(tmp_path / "restored"))
    assert not told.with_keys
    assert list(RunFolder(tmp_path / "restored").keys.iterdir()) == []


def test_keys_are_for_their_owner_only_in_the_backup_and_after_it(run: RunFolder, tmp_path: Path) -> None:
    backup(run, tmp_path / "backups", now_ms=NOW_MS, with_keys=True)
    restored = RunFolder(tmp_path / "restored")
    restore(tmp_path / "backups", restored)
    for keys in (tmp_path / "backups" / "keys", restored.keys):
        assert stat.S_IMODE(keys.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    assert stat.S_IMODE(restored.private.stat().st_mode) == 0o700
    assert {path.name for path in restored.keys.iterdir()} == {path.name for path in run.keys.iterdir()}


def test_a_backup_of_a_run_that_works_meanwhile_is_consistent(run: RunFolder, tmp_path: Path) -> None:
    simulation = Simulation(run.root, now_ms=now_ms())
    contribute(simulation)
    stop = threading.Event()

    def keep_writing() -> None:
        ledger = Ledger.open(run.ledger)
        number = 0
        while not stop.wait(0.002):  # whoever writes without a pause may keep everybody else out
            ledger.record(ContributorSeen(f"{number:064x}", "somebody"), at_ms=1)
            number += 1
        ledger.close()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for number in range(4):
            simulation.ticks(3)
            done = backup(run, tmp_path / "backups", now_ms=NOW_MS + number)
            assert done.missing == ()
            restore(tmp_path / "backups", RunFolder(tmp_path / f"restored-{number}"))
    finally:
        stop.set()
        writer.join()
    simulation.runs_until_tagged("0.1.2")
    for number in range(4):
        findings = fsck(tmp_path / f"restored-{number}").findings
        assert all(finding.part == "index" for finding in findings), findings


@pytest.mark.parametrize("syncs", [0, 1, 2, 3, 7, 20, 60])
def test_a_backup_that_is_killed_leaves_the_earlier_ones_and_the_next_one_works(
    run: RunFolder, tmp_path: Path, syncs: int
) -> None:
    dest = tmp_path / "backups"
    if syncs % 2:
        backup(run, dest, now_ms=NOW_MS)
        with (run.private / "blobs" / "note").open("w") as file:
            file.write("not a blob")
    before = BackupStore(dest).all()
    killed = killed_after(syncs, lambda: backup(run, dest, now_ms=NOW_MS + 1, with_keys=True))
    assert killed or syncs > 1
    there = BackupStore(dest).all()
    assert there[: len(before)] == before
    assert len(there) == len(before) + (not killed)
    backup(run, dest, now_ms=NOW_MS + 2, with_keys=True)
    restore(dest, RunFolder(tmp_path / "restored"))
    assert fsck(tmp_path / "restored").findings == ()
    assert not list(dest.glob("incoming/*.part"))


@pytest.mark.parametrize("syncs", [0, 1, 5, 30, 80])
def test_a_restore_that_is_killed_leaves_nothing_or_all(run: RunFolder, tmp_path: Path, syncs: int) -> None:
    backup(run, tmp_path / "backups", now_ms=NOW_MS, with_keys=True)
    target = tmp_path / "here" / "restored"
    killed = killed_after(syncs, lambda: restore(tmp_path / "backups", RunFolder(target)))
    assert target.exists() != killed
    if killed:
        restore(tmp_path / "backups", RunFolder(target))
    assert everything(RunFolder(target)) == everything(run)
    assert [path.name for path in target.parent.iterdir()] == ["restored"]


def test_a_damaged_or_missing_blob_of_the_backup_is_not_restored(run: RunFolder, tmp_path: Path) -> None:
    done = backup(run, tmp_path / "backups", now_ms=NOW_MS, with_keys=True)
    store = BackupStore(tmp_path / "backups")
    made = store.read(done.path)
    for ref in (made.ledger[0], made.public[0], made.private[0], made.files[0].blob):
        path = store.blobs.path(ref.digest)
        whole = path.read_bytes()
        for data in (bytes([whole[0] ^ 1]) + whole[1:], whole[:-1], None):
            path.unlink()
            if data is not None:
                path.write_bytes(data)
            with pytest.raises(BackupError, match="nothing was restored"):
                restore(tmp_path / "backups", RunFolder(tmp_path / "restored"))
            assert not (tmp_path / "restored").exists()
            path.write_bytes(whole)
    key = store.keys / made.keys[0].blob.digest[3:]
    key.write_bytes(b"another")
    with pytest.raises(BackupError, match="is damaged"):
        restore(tmp_path / "backups", RunFolder(tmp_path / "restored"))


def rot(path: Path) -> None:
    """One bit flips; the size stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.unlink()
    path.write_bytes(data)


def test_what_rotted_in_the_folder_is_replaced_and_not_carried_on(run: RunFolder, tmp_path: Path) -> None:
    dest = tmp_path / "backups"
    store, done = BackupStore(dest), backup(run, dest, now_ms=NOW_MS, with_keys=True)
    made = store.read(done.path)
    private = next(ref for ref in made.private if ref not in made.public)  # rotten twice would be whole again
    rotten = [store.blobs.path(ref.digest) for ref in (made.ledger[0], made.public[0], private)]
    rotten += [store.blobs.path(made.files[0].blob.digest), store.key_path(made.keys[0].blob.digest)]
    for path in rotten:
        rot(path)
    assert backup(run, dest, now_ms=NOW_MS + 1, by_size=True).replaced == 0
    assert len(fsck(dest).findings) == 5
    again = backup(run, dest, now_ms=NOW_MS + 2, with_keys=True)
    assert (again.replaced, again.added_bytes) == (5, 0)
    assert fsck(dest).findings == ()
    restore(dest, RunFolder(tmp_path / "restored"), done.path.name)
    assert everything(RunFolder(tmp_path / "restored")) == everything(run)


def test_a_folder_of_backups_is_checked_by_itself(run: RunFolder, tmp_path: Path) -> None:
    dest = tmp_path / "backups"
    store, done = BackupStore(dest), backup(run, dest, now_ms=NOW_MS, with_keys=True)
    shutil.rmtree(run.root)
    checked = fsck(dest)
    assert (checked.findings, checked.size_bytes) == ((), done.total_bytes)
    made = store.read(done.path)
    cases = {store.blobs.path(one.digest): "blobs" for one in (*made.ledger, *made.public, *made.private)}
    cases |= {store.blobs.path(file.blob.digest): "blobs" for file in made.files}
    cases |= {store.key_path(file.blob.digest): "backups" for file in made.keys} | {done.path: "backups"}
    for path, part in cases.items():
        whole = path.read_bytes()
        rot(path)
        assert {finding.part for finding in fsck(dest).findings} == {part}, path
        path.unlink()
        gone = {finding.part for finding in fsck(dest).findings}
        assert gone == ({"references"} if part == "blobs" else {part} if path != done.path else set()), path
        path.write_bytes(whole)
    with pytest.raises(UsageError, match="barnraise backup"):
        repair_all(dest, None)


def test_keys_that_are_replaced_meanwhile_are_those_that_the_root_names(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation ends between the two reads: it signs for the new key, and deletes the old one."""
    real, steps = Path.read_bytes, iter([True])

    def rotated(path: Path) -> bytes:
        data = real(path)
        if path == run.offline and next(steps, False):
            run.online_key.rename(run.keys / "online-2.key")
            run.offline.write_bytes(data.replace(b"{", b" {", 1))
        return data

    monkeypatch.setattr(Path, "read_bytes", rotated)
    done = backup(run, tmp_path / "backups", now_ms=NOW_MS, with_keys=True)
    made = BackupStore(tmp_path / "backups").read(done.path)
    (offline,) = [file.blob for file in made.files if file.path == "trust/offline.json"]
    assert bytes(BackupStore(tmp_path / "backups").blob(offline)) == real(run.offline)
    assert "keys/online-2.key" in {file.path for file in made.keys}


def test_an_altered_list_is_no_backup(run: RunFolder, tmp_path: Path) -> None:
    done = backup(run, tmp_path / "backups", now_ms=NOW_MS)
    done.path.write_bytes(done.path.read_bytes().replace(b'"tiny"', b'"tina"'))
    with pytest.raises(BackupError, match="was altered"):
        restore(tmp_path / "backups", RunFolder(tmp_path / "restored"))


def test_what_the_run_lacks_is_said_in_the_backup_and_when_it_is_restored(run: RunFolder, tmp_path: Path) -> None:
    ledger = Ledger.open_reading(run.ledger)
    release = ledger.release("0.1.1")
    assert release is not None
    assert release.patch is not None
    ledger.close()
    path = run.public / "blobs" / release.patch["digest"][3:5] / release.patch["digest"][5:]
    path.write_bytes(b"rotten")
    done = backup(run, tmp_path / "backups", now_ms=NOW_MS)
    assert [what.split(" (")[0] for what in done.missing] == ["patch of 0.1.1 is damaged"]
    told = restore(tmp_path / "backups", RunFolder(tmp_path / "restored"))
    assert told.missing == done.missing


def test_a_restore_replaces_nothing(run: RunFolder, tmp_path: Path) -> None:
    backup(run, tmp_path / "backups", now_ms=NOW_MS)
    before = everything(run)
    with pytest.raises(BackupError, match="is not empty"):
        restore(tmp_path / "backups", run)
    assert everything(run) == before
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "backups", RunFolder(tmp_path / "empty"))


def test_what_comes_to_lie_in_the_folder_while_it_is_restored_stays(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(run, tmp_path / "backups", now_ms=NOW_MS)
    theirs, real = tmp_path / "restored" / "theirs", BackupStore.write_ledger

    def meanwhile(store: BackupStore, made: BackupList, path: Path) -> None:
        theirs.parent.mkdir()
        theirs.write_bytes(b"theirs")
        real(store, made, path)

    monkeypatch.setattr(BackupStore, "write_ledger", meanwhile)
    with pytest.raises(BackupError, match="is not empty"):
        restore(tmp_path / "backups", RunFolder(tmp_path / "restored"))
    assert theirs.read_bytes() == b"theirs"
    assert not list(tmp_path.glob(".restored.restore-*"))


def test_folders_that_are_no_backups(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="holds no backups"):
        restore(tmp_path, RunFolder(tmp_path / "restored"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(BackupError, match="other things than backups"):
        backup(run, tmp_path / "photos", now_ms=NOW_MS)
    with pytest.raises(BackupError, match="lies in the run"):
        backup(run, run.root / "backups", now_ms=NOW_MS)
    backup(run, tmp_path / "backups", now_ms=NOW_MS)
    run.config.write_text(run.config.read_text().replace('name = "tiny"', 'name = "other"'))
    with pytest.raises(BackupError, match="backups of tiny, this is other"):
        backup(run, tmp_path / "backups", now_ms=NOW_MS)
    with pytest.raises(BackupError, match="no backup 2099"):
        restore(tmp_path / "backups", RunFolder(tmp_path / "restored"), "2099")


def test_a_backup_that_is_not_there_names_those_that_are(run: RunFolder, tmp_path: Path) -> None:
    backup(run, tmp_path / "backups", now_ms=NOW_MS)
    (made,) = BackupStore(tmp_path / "backups").all()
    with pytest.raises(BackupError, match=f"no backup 1999; the newest are: {made.stem}"):
        choose(BackupStore(tmp_path / "backups"), "1999")


def test_two_backups_into_one_folder_take_turns(run: RunFolder, tmp_path: Path) -> None:
    backup(run, tmp_path / "backups", now_ms=NOW_MS)
    with locked_file(tmp_path / "backups" / "lock", "busy"), pytest.raises(FolderLockedError):
        backup(run, tmp_path / "backups", now_ms=NOW_MS + 1)
