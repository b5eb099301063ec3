"""A run whose contributors bring their own text, judged on the operator's: from its file to a release."""

from __future__ import annotations

import inspect
import json
import textwrap
from pathlib import Path

import pytest

from barnraise.config import RunConfig, load_run_config
from barnraise.errors import ConfigValueError
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from contributor.own_data import OwnData
from coordinator.acceptance.heldout import HeldOut
from coordinator.run_setup import open_run, prepare_run
from simulator import Simulation

RUN = """
name = "notes"
model = { dim = 16, layers = 1, heads = 2, hidden = 32, context = 32 }
data = { corpus = "local", held_out = ["texts/*.txt", "texts/*.jsonl"] }
training = { steps = 8, batch = 16, learning_rate = 1e-2 }
update = { codec = { name = "blockwise", bits = 8 } }
release = { codec = { name = "blockwise", bits = 8 } }
round = { target_updates = 2, min_updates = 2, collect_for_s = 60, lease_for_s = 60 }

[acceptance]
check_examples = 16
check_margin = 0.5
tests = [{ name = "loss", kind = "loss", shard = "local", examples = 24, margin = 0.05 }]
"""


def run_file(root: Path) -> Path:
    (root / "texts").mkdir()
    (root / "texts" / "a.txt").write_text(inspect.getsource(textwrap))
    (root / "texts" / "b.jsonl").write_text(json.dumps({"text": "a line of the other kind " * 20}) + "\n")
    (root / "run.toml").write_text(RUN)
    return root / "run.toml"


def test_contributors_teach_it_and_the_operator_judges(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    config = prepare_run(folder, run_file(tmp_path))
    assert isinstance(config, RunConfig)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text(inspect.getsource(inspect))
    simulation = Simulation.of(folder)
    simulation.own = OwnData(("*.txt",), tmp_path / "notes")
    for name in ("ada", "grace"):
        simulation.contributor(name, "local").delivers()
    simulation.runs_until("released")
    newest = simulation.ledger.newest_release()
    assert newest is not None
    assert newest.summary["loss"]["effect"] < -0.1
    blobs = [simulation.desk.public.read(blob.digest) for blob in simulation.desk.public.stored()]
    assert any(b"Trained on text that contributors brought" in blob for blob in blobs)


def test_held_out_text_is_read_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    prepare_run(folder, run_file(tmp_path))
    opened = open_run(folder)
    opened.ledger.close()
    drawn = HeldOut.parse(BlobStore(folder.private).read(opened.held_out_digest), opened.held_out_digest)
    everything = (tmp_path / "texts" / "a.txt").read_bytes() + (tmp_path / "texts" / "b.jsonl").read_bytes()
    assert all(row.tobytes()[:8] in everything for row in drawn.windows["local"])
    (tmp_path / "texts" / "a.txt").unlink()
    assert prepare_run(folder, None) == load_run_config(folder.config)
    prepare_run(folder, tmp_path / "run.toml")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("c.txt", b"\0junk", r"data\.held_out: .*c\.txt: it is no text"),
        ("c.jsonl", b'{"body": "x"}\n', r"c\.jsonl: line 1 has no text under 'text'"),
    ],
)
def test_held_out_text_that_cannot_be_read_stops_the_run_from_being_made(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    path = run_file(tmp_path)
    (tmp_path / "texts" / name).write_bytes(data)
    with pytest.raises(ConfigValueError, match=said):
        prepare_run(RunFolder(tmp_path / "run"), path)


def test_no_held_out_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(RUN)
    with pytest.raises(ConfigValueError, match=r"texts/\*\.txt matches no file"):
        prepare_run(RunFolder(tmp_path / "run"), tmp_path / "run.toml")
