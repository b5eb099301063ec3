"""import, gc, fsck, backup, restore: what they say, and what they leave when they are killed."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.write import CheckpointWriter, plan_shards
from barnraise.cli import run as barnraise
from barnraise.clock import now_ms
from barnraise.releases.installed import Installed
from barnraise.releases.source import FolderSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import read_index
from barnraise.run_folder import RunFolder
from coordinator.backup_store import BackupStore
from coordinator.fsck import fsck
from coordinator.gc import collect
from coordinator.importing import ImportWish, import_into
from coordinator.ledger import Ledger
from simulator import Simulation
from stored_run import command_killed_after, copied_run, killed_after

LATER_NS = 10**19


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # other tests have pinned other runs of this name
    return copied_run(tmp_path / "run")


@pytest.fixture
def fine_tune(run: RunFolder, tmp_path: Path) -> Path:
    """A fine-tune of 0.1.1: a folder with its weights, a little changed in one tensor."""
    code = barnraise(["pull", "tiny@0.1.1", "--into", str(tmp_path / "trunk"), "--from", str(run.root), "--json"])
    assert code == 0
    tensors = {name: np.array(data) for name, data in Installed.open(tmp_path / "trunk").tensors.items()}
    name = max(tensors, key=lambda name: len(tensors[name]))
    tensors[name].view("<f4")[:] *= np.float32(1.001)
    specs = Checkpoint.open(tmp_path / "trunk").specs
    folder = tmp_path / "ft"
    folder.mkdir()
    with CheckpointWriter(folder, specs, plan_shards(specs, 1 << 30)) as writer:
        for key, data in tensors.items():
            writer.put(key, 0, data)
        writer.finish()
    return folder


def says(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    code = barnraise([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def answers(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> dict[str, Any]:
    code, out, _ = says(capsys, *argv, "--json")
    envelope: dict[str, Any] = json.loads(out)
    assert envelope["ok"] == (code == 0)
    assert envelope["command"] == argv[0]
    return envelope


def listed(run: RunFolder) -> list[tuple[str, str]]:
    ledger = Ledger.open_reading(run.ledger)
    try:
        return [(row.name, row.version) for row in ledger.derived()]
    finally:
        ledger.close()


def test_import_lists_a_model_that_can_be_pulled(
    run: RunFolder, fine_tune: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "import",
        fine_tune,
        "--parent",
        "tiny@0.1.1",
        "--as",
        "tiny-csv",
        "--run",
        run.root,
        "--note",
        "for tables",
    )
    code, out, _ = says(capsys, *words)
    assert code == 0
    assert "tiny-csv 0.1.0 is listed: the first import of this name" in out
    assert "are those of tiny 0.1.1, 1 differ, 0 are new" in out
    code, out, _ = says(capsys, *words)
    assert "exactly this is listed already as tiny-csv 0.1.0" in out
    result = answers(capsys, "pull", "tiny-csv", "--into", tmp_path / "model", "--from", run.root)["result"]
    assert result["version"] == "0.1.0"
    expected = Checkpoint.open(fine_tune)
    for name, data in Installed.read(tmp_path / "model").tensors.items():
        assert np.array_equal(data, expected.block(name, 0, expected.tensors[name].size))
    checked = answers(capsys, "verify", tmp_path / "model", "--from", run.root)["result"]
    assert (checked["decoded"], checked["patch"]) == (len(expected.tensors), None)
    assert "decoding it again" in " ".join(checked["checked"])
    assert fsck(run.root).findings == ()
    collect(run, now_ns=LATER_NS)
    assert fsck(run.root).findings == ()
    assert answers(capsys, "backup", run.root, tmp_path / "backups")["ok"]
    assert answers(capsys, "restore", tmp_path / "backups", tmp_path / "again")["ok"]
    assert listed(RunFolder(tmp_path / "again")) == [("tiny-csv", "0.1.0")]
    assert fsck(tmp_path / "again").findings == ()


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"--parent": "tiny@9"}, 6, "0.1.1"),
        ({"--parent": "other@0.1.0"}, 6, "there are: tiny"),
        ({"--as": "tiny"}, 2, "trunk's own name"),
        ({"--as": "Bad Name"}, 2, "lower-case"),
        ({"--relation": "stolen"}, 2, "fine-tune, merge"),
        ({"--run": "nowhere"}, 7, "holds no run"),
        ({"PATH": "nowhere"}, 13, "there is no"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_cannot_be_imported_changes_nothing(
    run: RunFolder,
    fine_tune: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    code: int,
    words: str,
) -> None:
    options = {"PATH": str(fine_tune), "--parent": "tiny@0.1.1", "--as": "tiny-csv", "--run": str(run.root), **changes}
    path = options.pop("PATH")
    found, _, err = says(capsys, "import", path, *(word for pair in options.items() for word in pair))
    assert found == code
    assert words.lower() in err.lower()
    assert listed(run) == []


@pytest.mark.parametrize(
    ("which", "how"),
    [("manifest", "damaged"), ("keyframe", "damaged"), ("keyframe", "missing"), ("patch", "damaged")],
)
def test_an_import_upon_a_damaged_parent_says_how_to_mend_it_and_takes_nothing_away(
    run: RunFolder, fine_tune: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str, how: str
) -> None:
    assert answers(capsys, "mirror", run.root, tmp_path / "mirror")["ok"]
    first, second = read_index(FolderSource(run.root), None).index.releases
    ref = {"manifest": second.manifest, "keyframe": first.keyframe, "patch": second.patch}[which]
    assert ref is not None
    path = BlobStore(run.public).path(ref.digest)
    data = path.read_bytes()
    path.unlink()
    if how == "damaged":
        path.write_bytes(data[:400] + bytes(255 - byte for byte in data[400:]))
    left = path.read_bytes() if path.exists() else None
    words = ("import", fine_tune, "--parent", "tiny@0.1.1", "--as", "tiny-csv", "--run", run.root)
    code, _, err = says(capsys, *words)
    assert code == 7
    what = f"the {which} of tiny {'0.1.0' if which == 'keyframe' else '0.1.1'}"
    assert f"{what} is damaged or missing in {run.root}; nothing was listed. Mend it" in err
    mend = f"barnraise fsck --run {run.root} --repair --from"
    assert mend in err
    assert (path.read_bytes() if path.exists() else None) == left
    assert listed(run) == []
    assert says(capsys, *mend.split()[1:], tmp_path / "mirror")[0] == 0
    assert says(capsys, *words)[0] == 0


def test_an_import_beside_a_coordinator_is_listed_by_it(run: RunFolder, fine_tune: Path) -> None:
    simulation = Simulation(run.root, now_ms=now_ms())
    told: list[str] = []
    done = threading.Event()

    def imports() -> None:
        import_into(run, ImportWish(fine_tune, "tiny-csv", "tiny@^0.1"), tell=told.append)
        done.set()

    with run.lock("coordinator"):
        thread = threading.Thread(target=imports)
        thread.start()
        while thread.is_alive():
            simulation.ticks()
        thread.join()
    assert done.is_set()
    assert listed(run) == [("tiny-csv", "0.1.0")]
    assert "the coordinator takes it up" in told[0]
    assert [entry.name for entry in read_index(FolderSource(run.root)).index.derived] == ["tiny-csv"]


@pytest.mark.parametrize("syncs", [0, 5, 11, 60])
def test_an_import_that_is_killed_lists_nothing_or_all_and_the_next_one_works(
    run: RunFolder, fine_tune: Path, syncs: int
) -> None:
    killed = command_killed_after(
        syncs, "import", fine_tune, "--parent", "tiny@0.1.1", "--as", "tiny-csv", "--run", run.root
    )
    assert killed == (syncs < 60)
    assert listed(run) in ([], [("tiny-csv", "0.1.0")])
    assert [finding for finding in fsck(run.root).findings if finding.part != "index"] == []
    import_into(run, ImportWish(fine_tune, "tiny-csv", "tiny@0.1.1"))
    assert listed(run) == [("tiny-csv", "0.1.0")]
    assert [finding for finding in fsck(run.root).findings if finding.part != "index"] == []


def test_gc_says_what_it_frees(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    store = BlobStore(run.public)
    digest = store.put(b"interrupted import")
    os.utime(store.path(digest), ns=(1, 1))
    code, out, _ = says(capsys, "gc", "--run", run.root, "--dry-run")
    assert (code, out.splitlines()[-1]) == (0, "would remove 1 file, 18 bytes")
    assert store.has(digest)
    result = answers(capsys, "gc", "--run", run.root)["result"]
    assert (result["removed"], result["freed_bytes"]) == (1, 18)
    assert not store.has(digest)
    assert answers(capsys, "gc", "--run", run.root / "public")["error"]["code"] == "not-a-run-folder"
    assert fsck(run.root).findings == ()


def test_fsck_says_each_finding_on_a_line_and_mends(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = says(capsys, "fsck", "--run", run.root)
    assert code == 0
    assert out.endswith("all in order\n")
    assert answers(capsys, "mirror", run.root, tmp_path / "mirror")["ok"]
    assert answers(capsys, "fsck", "--run", tmp_path / "mirror")["ok"]
    patch = max(run.public.glob("blobs/*/*"), key=lambda path: path.stat().st_size)
    whole = patch.read_bytes()
    patch.unlink()
    patch.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    code, out, err = says(capsys, "fsck", "--run", run.root)
    assert code == 7
    assert out.startswith("blobs: ")
    assert "1 finding in" in err
    envelope = answers(capsys, "fsck", "--run", run.root)
    assert envelope["error"]["code"] == "damaged-store"
    assert [finding["part"] for finding in envelope["result"]["findings"]] == ["blobs"]
    assert says(capsys, "fsck", "--run", run.root, "--from", tmp_path / "mirror")[0] == 2
    result = answers(capsys, "fsck", "--run", run.root, "--repair", "--from", tmp_path / "mirror")["result"]
    assert result["findings"] == []
    assert len(result["repaired"]) == 1
    assert patch.read_bytes() == whole


def test_backup_and_restore_say_what_they_did(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = says(capsys, "backup", run.root, tmp_path / "backups")
    assert code == 0
    assert "without its keys" in out
    again = answers(capsys, "backup", run.root, tmp_path / "backups", "--with-keys")["result"]
    keys = sum(path.stat().st_size for path in run.keys.glob("*.key"))
    assert (again["added_bytes"], again["with_keys"]) == (keys, True)
    code, out, err = says(capsys, "restore", tmp_path / "backups", tmp_path / "again")
    assert code == 0
    assert "continue it with: barnraise serve" in out
    assert err == ""
    first = BackupStore(tmp_path / "backups").all()[0].name
    code, _, err = says(capsys, "restore", tmp_path / "backups", tmp_path / "older", "--at", first)
    assert code == 0
    assert "this backup has no keys" in err
    for words in (("restore", tmp_path / "backups", tmp_path / "again"), ("restore", tmp_path, tmp_path / "new")):
        assert answers(capsys, *words)["error"]["code"] == "backup"


@pytest.mark.parametrize("syncs", [0, 1, 3])
def test_a_collection_that_is_killed_has_lost_nothing_that_is_needed(run: RunFolder, syncs: int) -> None:
    for number in range(5):
        BlobStore(run.private).put(b"garbage %d" % number)
    killed_after(syncs, lambda: collect(run, now_ns=LATER_NS))
    assert fsck(run.root).findings == ()
    collect(run, now_ns=LATER_NS)
    assert fsck(run.root).findings == ()
