"""``barnraise test``: the coordinator's own verdict on a laptop, whatever a model is named by, and clear errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from barnraise.cli import run
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from coordinator.ledger import Ledger
from coordinator.ledger.events import RoundTested
from stored_run import copied_run
from suite_runs import write_suite

LINES: list[object] = [{"text": f"import os  # {n}"} for n in range(12)]
TESTS = """
[[tests]]
name = "loss-lines"
kind = "loss"
data = "lines"
examples = 12
margin = 0.5
"""
ON_A_SHARD = """
[[tests]]
name = "loss-text"
kind = "loss"
shard = "text"
examples = 16
margin = 0.5
"""


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run with the releases 0.1.0 and 0.1.1, in the working folder as ``run``."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return copied_run(tmp_path / "here" / "run")


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    """Exit code and result, or error, of the command with ``--json``, which is all that it prints."""
    code = run(["test", *argv, "--json"])
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    envelope = json.loads(out)
    return code, envelope["result"] if envelope["ok"] else envelope["error"]


def rows(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result["tests"]}


def recorded(folder: RunFolder) -> RoundTested:
    ledger = Ledger.open(folder.ledger)
    try:
        (event,) = [one.event for one in ledger.events_after(0) if isinstance(one.event, RoundTested)]
    finally:
        ledger.close()
    return event


def first_update(folder: RunFolder) -> Path:
    """The first update that the run received, as a file."""
    ledger = Ledger.open(folder.ledger)
    try:
        update = ledger.updates()[0]
    finally:
        ledger.close()
    path = Path("change.update")
    path.write_bytes(BlobStore(folder.private).read(update.digest))
    return path


def test_the_verdict_is_the_coordinators_to_the_last_bit(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = told(capsys, "run", "0.1.1")
    was = recorded(stored)
    assert (code, result["passed"], result["reason"]) == (0, was.passed, was.reason)
    assert set(rows(result)) == set(was.summary)
    for name, row in rows(result).items():
        for mine, theirs in {"effect": "effect", "low": "low", "high": "high", "p_corrected": "p"}.items():
            assert row[mine] == was.summary[name][theirs], (name, mine)
        assert row["means"] == {"base": was.summary[name]["base_mean"], "candidate": was.summary[name]["mean"]}


def test_a_pulled_folder_has_the_same_windows_and_verdict(
    stored: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pull", "tiny@0.1.1", "--into", "model", "--from", "run"]) == 0
    capsys.readouterr()
    _, at_home = told(capsys, "run", "0.1.1")
    Path("run").rename("elsewhere")
    code, result = told(capsys, "elsewhere/run.toml", "./model", "--from", "elsewhere")
    assert code == 0
    assert "those of the run" in result["notes"][0]
    for row in result["tests"]:
        was = rows(at_home)[row["name"]]
        assert {key: row[key] for key in ("effect", "low", "high", "p", "means")} == {
            key: was[key] for key in ("effect", "low", "high", "p", "means")
        }


def test_another_suite_looks_at_the_runs_windows(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_suite(Path("suite"), {}, ON_A_SHARD)
    code, result = told(capsys, str(path), "tiny@0.1.1", "--from", "run")
    assert code == 0
    assert result["notes"][0].endswith("those of the run")  # 16 of its 24
    assert rows(result)["loss-text"]["examples"] == 16
    assert rows(result)["loss-text"]["worse_examples"] == []
    assert rows(result)["loss-text"]["better_examples"][0]["text"]


def test_more_windows_than_the_run_has_are_others(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_suite(Path("suite"), {}, ON_A_SHARD.replace("16", "30"))
    code, result = told(capsys, str(path), "tiny@0.1.1", "--from", "run")
    assert code == 0
    assert "more than the run has (b3:" in result["notes"][0]


def test_windows_of_a_run_are_not_shown(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    _, result = told(capsys, "run", "0.1.1")
    assert {one["text"] for row in result["tests"] for one in row["better_examples"]} == {None}


def test_an_update_is_tested_on_the_base_that_it_names(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    update = first_update(stored)
    code, result = told(capsys, "run", str(update))
    assert code == 0
    assert result["base"]["name"] == "tiny 0.1.0"
    assert result["candidate"]["name"] == "tiny 0.1.0 plus change.update"
    assert result["candidate"]["model_digest"] not in {result["base"]["model_digest"]}
    _, same = told(capsys, "run", str(update), "--against", "0.1.0")
    assert same["tests"] == [row | {"seconds": 0.0} for row in result["tests"]]
    _, other = told(capsys, "run", str(update), "--against", "0.1.1")
    assert other["base"]["name"] == "tiny 0.1.1"
    assert other["candidate"] == result["candidate"]


def test_a_worse_model_fails_with_one(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = told(capsys, "run", "0.1.0", "--against", "0.1.1")
    assert (code, result["passed"]) == (1, False)
    assert {row["state"] for row in result["tests"]} == {"failed"}
    assert run(["test", "run", "0.1.0", "--against", "0.1.1"]) == 1
    out = capsys.readouterr().out
    assert "failed: 2 of 2 supported tests are not shown to be non-inferior: loss-text" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_first_release_is_only_measured(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = told(capsys, "run", "0.1.0")
    assert (code, result["passed"], result["base"]) == (0, None, None)
    assert "names no parent" in result["notes"][0]


def test_a_parent_that_is_not_at_hand(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pull", "tiny@0.1.1", "--into", "model", "--from", "run"]) == 0
    capsys.readouterr()
    path = write_suite(Path("suite"), {"lines": LINES}, TESTS)
    code, result = told(capsys, str(path), "./model")
    assert (code, result["base"]) == (0, None)
    assert result["notes"][0].startswith("its parent is not at hand")


def test_nothing_is_measured_twice(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "run", "0.1.1"]) == 0
    assert "known before" not in capsys.readouterr().err
    assert run(["test", "run", "0.1.1"]) == 0
    assert capsys.readouterr().err.count("known before") == 4
    assert run(["test", "run", "0.1.1", "--no-cache"]) == 0
    assert "known before" not in capsys.readouterr().err


def test_data_sets_beside_the_suite(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = TESTS.replace("lines", "secrets")
    path = write_suite(Path("suite"), {"lines": LINES, "secrets": LINES}, TESTS + hidden, hidden=("secrets",))
    code, both = told(capsys, str(path), "0.1.1", "--from", "run")
    assert code == 0
    assert rows(both)["loss-lines"]["better_examples"][0]["text"].startswith("import os")
    assert rows(both)["loss-secrets"]["better_examples"][0]["text"] is None
    Path("suite/secrets.jsonl").unlink()
    code, one = told(capsys, str(path), "0.1.1", "--from", "run")
    assert code == 0
    assert rows(one)["loss-secrets"]["state"] == "skipped"
    assert "is hidden" in rows(one)["loss-secrets"]["reason"]
    assert one["reason"].endswith("; not run here: loss-secrets")


def test_reports_are_written(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "run", "0.1.1", "--junit", "found.xml", "--html", "found.html"]) == 0
    suite = ElementTree.parse("found.xml").getroot()[0]
    assert [case.attrib["name"] for case in suite.findall("testcase")] == ["loss-text", "loss-tools"]
    assert "tiny 0.1.1" in Path("found.html").read_text()
    assert sorted(path.name for path in Path().iterdir()) == ["found.html", "found.xml", "run"]


@pytest.mark.parametrize(
    ("argv", "exit_code", "said"),
    [
        (["no-such-suite", "0.1.1", "--from", "run"], 3, "none of that name ships"),
        (["run", "9.9.9"], 6, "9.9.9"),
        (["run", "./nothing"], 2, "no file and no folder"),
        (["run", "run"], 2, "holds a whole run"),
        (["run", "0.1.1", "--against", "other@0.1.0"], 6, "other"),
        (["suite/suite.toml", "0.1.1"], 2, "which run?"),
        (["suite/suite.toml", "suite"], 13, "safetensors"),
        (["run", "suite/suite.toml"], 4, ""),
        (["run", "0.1.1", "--html", "no/such/folder.html"], 2, "there is no folder"),
        (["run", "0.1.1", "--junit", "suite"], 2, "is a folder"),
        (["run", "0.1.1", "--threads", "0"], 2, "threads"),
        (["run"], 2, "MODEL"),
    ],
)
def test_wrong_arguments(
    stored: RunFolder, capsys: pytest.CaptureFixture[str], argv: list[str], exit_code: int, said: str
) -> None:
    write_suite(Path("suite"), {"lines": LINES}, TESTS)
    code, error = told(capsys, *argv)
    assert (code, said in error["reason"]) == (exit_code, True), error


@pytest.mark.parametrize(
    ("lines", "tests", "exit_code", "said"),
    [
        (LINES, TESTS + "colour = 1", 3, "unknown key"),
        (LINES[:5], TESTS, 10, "looks at 12 examples, data set lines has 5"),
        ([], TESTS, 10, "has no example"),
        ([{"question": "why"}] * 12, TESTS, 10, "fails on the base itself"),
        ([3] * 12, TESTS, 10, "is not a JSON object"),
        (LINES, TESTS + "direction = 'higher'", 10, "lower is better"),
        (LINES, TESTS + "options = {per = 'word'}", 10, "per"),
        (LINES, ON_A_SHARD.replace("text", "poems"), 3, "poems"),
        (LINES, ON_A_SHARD.replace("16", "100000"), 10, "are needed"),
    ],
)
def test_a_suite_that_cannot_be_run(
    stored: RunFolder,
    capsys: pytest.CaptureFixture[str],
    lines: list[object],
    tests: str,
    exit_code: int,
    said: str,
) -> None:
    path = write_suite(Path("suite"), {"lines": lines}, tests)
    code, error = told(capsys, str(path), "0.1.1", "--from", "run")
    assert (code, said in error["reason"]) == (exit_code, True), error


@pytest.mark.parametrize("change", [None, b'{"text": "altered"}\n'])
def test_a_data_file_that_is_missing_or_altered(
    stored: RunFolder, capsys: pytest.CaptureFixture[str], change: bytes | None
) -> None:
    path = write_suite(Path("suite"), {"lines": LINES}, TESTS)
    Path("suite/lines.jsonl").unlink() if change is None else Path("suite/lines.jsonl").write_bytes(change)
    code, error = told(capsys, str(path), "0.1.1", "--from", "run")
    assert code == 10
    assert ("cannot be read" if change is None else "the suite pins") in error["reason"]


def test_a_damaged_update(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    path = first_update(stored)
    path.write_bytes(path.read_bytes()[:-9])
    assert told(capsys, "run", str(path))[0] == 4


def test_an_update_whose_base_is_not_at_hand(stored: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    path = first_update(stored)
    data = path.read_bytes()
    at = data.index(b'"base":"b3:') + 11
    path.write_bytes(data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :])
    code, error = told(capsys, "run", str(path))
    assert code == 4
    assert "is no release of run" in error["reason"]


def test_being_interrupted_writes_nothing(
    stored: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("coordinator.acceptance.run_suite.measure", interrupted)
    assert run(["test", "run", "0.1.1", "--html", "found.html"]) == 130
    assert not Path("found.html").exists()


def test_help_imports_neither_torch_nor_ray_nor_tuf() -> None:
    script = (
        "import sys\nfrom barnraise.cli import run\nrun(['test', '--help'])\n"
        "print(*{'torch', 'ray', 'tuf', 'coordinator'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Example: barnraise test" in done.stdout
    assert done.stderr.strip() == ""
