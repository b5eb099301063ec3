"""What a check finds, and what it mends."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from barnraise.errors import FolderLockedError, NotARunFolderError
from barnraise.releases.source import FolderSource
from barnraise.releases.store import BlobStore, StoredBlob
from barnraise.run_folder import RunFolder
from coordinator.findings import Checked
from coordinator.fsck import fsck
from coordinator.ledger import Ledger
from coordinator.ledger.events import ChannelMoved
from coordinator.references import required
from coordinator.repair import repair, repair_all
from stored_run import copied_run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return copied_run(tmp_path / "run")


@pytest.fixture
def mirror(run: RunFolder, tmp_path: Path) -> Path:
    shutil.copytree(run.public, tmp_path / "mirror")
    return tmp_path / "mirror"


def parts(checked: Checked) -> list[str]:
    return [finding.part for finding in checked.findings]


def edit(run: RunFolder, statement: str) -> None:
    """Tamper with the ledger's file, past what keeps its events from being changed."""
    database = sqlite3.connect(run.ledger)
    guards = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in guards:
        database.execute(f"DROP TRIGGER {name}")
    database.execute(statement)
    for _, text in guards:
        database.execute(text)
    database.commit()
    database.close()


def references(run: RunFolder) -> dict[str, tuple[Path, str]]:
    """What is needed: in words -> where it lies, and its place."""
    ledger = Ledger.open_reading(run.ledger)
    try:
        stores = {"public": BlobStore(run.public), "private": BlobStore(run.private)}
        return {one.why: (stores[one.place].path(one.digest), one.place) for one in required(ledger, stores["public"])}
    finally:
        ledger.close()


def rot(path: Path) -> None:
    """One bit flips, in this file alone."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.unlink()
    path.write_bytes(data)


def test_a_run_and_a_mirror_that_are_in_order(run: RunFolder, mirror: Path) -> None:
    for place in (run.root, mirror):
        checked = fsck(place)
        assert checked.findings == ()
        assert checked.blobs > 0
        assert checked.references > 0
        assert checked.size_bytes == sum(path.stat().st_size for path in place.rglob("blobs/??/*"))


def test_every_blob_that_is_needed_is_missed_and_every_rotten_one_is_seen(run: RunFolder) -> None:
    for why, (path, _) in references(run).items():
        whole = path.read_bytes()
        path.unlink()
        findings = fsck(run.root).findings
        assert any(finding.part == "references" and why in finding.what for finding in findings), why
        path.write_bytes(whole)
        rot(path)
        findings = fsck(run.root).findings
        assert any(finding.part == "blobs" and why in finding.what for finding in findings), why
        path.unlink()
        path.write_bytes(whole)
    assert fsck(run.root).findings == ()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE releases SET reason = 'because'",
        "UPDATE updates SET state = 'checked' WHERE state = 'merged'",
        "DELETE FROM channels",
        "INSERT INTO bans VALUES ('abc', 1, 'a grudge', 1)",
    ],
)
def test_a_table_that_was_tampered_with_is_found_and_made_anew(run: RunFolder, statement: str) -> None:
    edit(run, statement)
    checked = fsck(run.root)
    assert "tables" in parts(checked)
    with run.lock("coordinator"), pytest.raises(FolderLockedError):
        repair(run.root, checked.findings, None)
    assert "the ledger's tables were made anew from its events" in repair(run.root, checked.findings, None)
    assert fsck(run.root).findings == ()


def test_an_event_that_is_gone_is_found(run: RunFolder) -> None:
    edit(run, "DELETE FROM events WHERE seq = 4")
    assert any("event 4 is missing" in finding.what for finding in fsck(run.root).findings)


def test_events_that_do_not_fit_are_found(run: RunFolder) -> None:
    edit(run, "UPDATE events SET payload = '{}' WHERE kind = 'release-tagged'")
    assert any("cannot be replayed" in finding.what for finding in fsck(run.root).findings)


def test_an_index_that_lags_behind_the_ledger_is_found(run: RunFolder) -> None:
    ledger = Ledger.open(run.ledger)
    ledger.record(ChannelMoved("nightly", "0.1.1", "0.1.0"), at_ms=1)
    ledger.close()
    (finding,) = fsck(run.root).findings
    assert finding.part == "index"
    assert "start the coordinator once" in finding.what


def test_metadata_that_was_altered_is_found(run: RunFolder, mirror: Path) -> None:
    for public, place in ((run.public, run.root), (mirror, mirror)):
        (path,) = list((public / "metadata").glob("*.targets.json"))
        path.write_bytes(path.read_bytes().replace(b'"version"', b'"Version"'))
        assert "signatures" in parts(fsck(place))


def test_blobs_are_fetched_from_a_mirror(run: RunFolder, mirror: Path) -> None:
    public = [path for path, place in references(run).values() if place == "public"]
    assert len(public) >= 6
    for number, path in enumerate(public):
        if number % 2:
            path.unlink()
        else:
            rot(path)
    checked, told = repair_all(run.root, FolderSource(mirror))
    assert checked.findings == ()
    assert len([line for line in told if "was fetched from" in line]) == len(public)
    assert all(path.exists() for path in public)


def test_a_mirror_is_mended_from_the_run(run: RunFolder, mirror: Path) -> None:
    """A manifest that is missing hides what it names, until it is there."""
    card, manifest = (
        mirror / next(path.relative_to(run.public) for why, (path, _) in references(run).items() if why == name)
        for name in ("card of 0.1.1", "the manifest of 0.1.1")
    )
    for rotten, missing in ((card, manifest), (manifest, card)):
        rot(rotten)
        missing.unlink()
        assert sorted(parts(fsck(mirror))) == ["blobs", "references"]
        checked, told = repair_all(mirror, FolderSource(run.root))
        assert checked.findings == ()
        assert len([line for line in told if "was fetched from" in line]) == 2
        assert rotten.exists()
        assert missing.exists()


def test_a_private_copy_of_a_public_blob_is_taken_from_there(run: RunFolder) -> None:
    state = next(path for why, (path, _) in references(run).items() if "optimiser state" in why)
    held = state.read_bytes()
    digest = BlobStore(run.public).put(held)
    rot(state)
    checked = fsck(run.root)
    assert "was taken from the public blobs" in " ".join(repair(run.root, checked.findings, None))
    assert state.read_bytes() == held
    BlobStore(run.public).delete(digest)


def test_what_cannot_be_mended_is_said_and_left(run: RunFolder, mirror: Path) -> None:
    wanted = references(run)
    state = next(path for why, (path, _) in wanted.items() if "optimiser state" in why)
    patch = wanted["patch of 0.1.1"][0]
    rot(state)
    rot(patch)
    checked = fsck(run.root)
    told = " ".join(repair(run.root, checked.findings, None))
    assert "no mirror has it; restore it from a backup" in told
    assert "name a mirror with --from" in told
    rot(BlobStore(mirror).path(f"b3:{patch.parent.name}{patch.name}"))
    told = " ".join(repair(run.root, checked.findings, FolderSource(mirror)))
    assert "is not mended" in told
    assert len(fsck(run.root).findings) == 2
    assert not list(run.root.rglob("incoming/*.part"))


def test_a_damaged_blob_that_nothing_needs_is_removed(run: RunFolder) -> None:
    store = BlobStore(run.private)
    path = store.path(store.put(b"a candidate that was rejected"))
    rot(path)
    checked = fsck(run.root)
    assert "nothing needs" in checked.findings[0].what
    repair(run.root, checked.findings, None)
    assert not path.exists()
    assert fsck(run.root).findings == ()


def test_a_blob_that_a_coordinator_removes_meanwhile_stops_nothing(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlobStore(run.private)
    digest = store.put(b"the optimiser state of an older release")
    real = BlobStore.stored

    def then_gone(self: BlobStore) -> Iterator[StoredBlob]:
        found = list(real(self))
        store.delete(digest)
        return iter(found)

    monkeypatch.setattr(BlobStore, "stored", then_gone)
    assert fsck(run.root).findings == ()


def moves_once(monkeypatch: pytest.MonkeyPatch, move: Callable[[], None]) -> None:
    """Have something happen in the run while its blobs are read, the first time."""
    real, steps = BlobStore.stored, iter([move])

    def stored(self: BlobStore) -> Iterator[StoredBlob]:
        for step in steps:
            step()
        return real(self)

    monkeypatch.setattr(BlobStore, "stored", stored)


def move(run: RunFolder, old: str, new: str) -> None:
    ledger = Ledger.open(run.ledger)
    ledger.record(ChannelMoved("nightly", old, new), at_ms=1)
    ledger.close()


def test_what_was_found_while_the_run_moved_is_looked_at_again(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    move(run, "0.1.1", "0.1.0")
    moves_once(monkeypatch, lambda: move(run, "0.1.0", "0.1.1"))
    checked = fsck(run.root)
    assert checked.findings == ()
    assert checked.size_bytes == sum(path.stat().st_size for path in run.root.rglob("blobs/??/*"))


def test_what_is_still_so_after_the_run_moved_is_told(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = references(run)
    rot(wanted["patch of 0.1.1"][0])
    wanted["keyframe of 0.1.0"][0].unlink()

    def there_and_back() -> None:
        move(run, "0.1.1", "0.1.0")
        move(run, "0.1.0", "0.1.1")

    moves_once(monkeypatch, there_and_back)
    assert sorted(parts(fsck(run.root))) == ["blobs", "references"]


def test_a_manifest_whose_size_nothing_says_is_fetched_too(run: RunFolder, mirror: Path) -> None:
    """The index says how large manifests are; without it a folder is asked for one all the same."""
    manifest = references(run)["the manifest of 0.1.1"][0]
    manifest.unlink()
    (run.public / "metadata" / "timestamp.json").unlink()
    findings = [finding for finding in fsck(run.root).findings if finding.blob is not None]
    assert [finding.blob.size_bytes for finding in findings if finding.blob is not None] == [None]
    (told,) = repair(run.root, findings, FolderSource(mirror))
    assert "was fetched from" in told
    assert manifest.exists()


def test_a_folder_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARunFolderError):
        fsck(tmp_path)
