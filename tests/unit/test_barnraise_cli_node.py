"""Commands about nodes, in one process: what they say of folders, and when they guess which is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from barnraise.cli import run
from barnraise.cli.leaderboard import _words
from barnraise.clock import now_ms
from barnraise.digest import digest_bytes
from barnraise.errors import UnreachableError
from barnraise.identity import Identity
from barnraise.records import ContributorLine, ContributorLines
from contributor.events import Fate, Finished, Joined, NodeEvent, Received, Sent, Stopped
from contributor.folder import NodeFolder
from contributor.history import Journal
from contributor.status import NodeStatus, Watch

DIGEST = digest_bytes(b"an update")


@pytest.fixture(name="home")
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("BARNRAISE_FROM", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state" / "barnraise"


def node(home: Path, run_name: str = "tiny", key: str = "0123abcd") -> NodeFolder:
    """A node that has trained a unit and stopped."""
    folder = NodeFolder.of(home, run_name, key * 8)
    folder.root.mkdir(parents=True)
    folder.url.write_text("http://127.0.0.1:9\n")
    events: list[NodeEvent] = [
        Finished(DIGEST, 3, "0.1.2", "text", 20, 640, 9.0, 4.0, 3.0),
        Sent(DIGEST, 50, 200, 4.0, 3.0),
        Received(DIGEST, 3),
        Fate(DIGEST, "merged", "merged in 0.1.3", "0.1.3"),
        Stopped(1, "1 of 1 units done"),
    ]
    journal, watch = Journal(folder.history), Watch(NodeStatus(pid=1, started_at_ms=0, name="ada"))
    for at_ms, event in enumerate(events, start=1):
        journal.note(event, at_ms)
        watch.tell(event, at_ms)
    watch.keep(folder.status)
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code = run([*arguments, "--json"])
    envelope = json.loads(capsys.readouterr().out)
    return code, envelope["result"] if envelope["ok"] else envelope["error"]


def test_without_a_node_every_command_says_how_to_start_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("status", "pause", "resume", "finish", "leave", "history"):
        code, error = told(capsys, command)
        assert (code, error["code"]) == (15, "no-node")
        assert "barnraise join URL" in error["reason"]


def test_a_node_elsewhere_is_started_there_again(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node(home)
    node(tmp_path / "elsewhere")
    for where, expected in (((), ""), (("--home", "elsewhere"), " --home elsewhere")):
        assert run(["status", *where]) == 0
        assert capsys.readouterr().out.endswith(f"start with barnraise join http://127.0.0.1:9{expected}\n")


def test_a_node_with_a_key_of_its_own_is_started_with_it_again(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, key = node(tmp_path / "elsewhere"), tmp_path / "keys of ada" / "ada.key"
    folder.remember_key(key)
    again = f"barnraise join http://127.0.0.1:9 --home elsewhere --key '{key}'"
    assert run(["status", "--home", "elsewhere"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"  start with {again}"  # in one line, for whoever copies it
    code, error = told(capsys, "pause", "--home", "elsewhere")
    assert (code, error["code"]) == (15, "no-node")
    assert error["reason"].endswith(f"start it with: {again}")
    code, error = told(capsys, "swarm", "--home", "elsewhere")
    assert (code, error["code"]) == (15, "no-node")
    assert error["reason"].endswith(f"Start one with: {again} --swarm")


def test_a_node_that_was_killed_is_not_said_to_have_stopped(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = node(home)
    started = NodeStatus(pid=2, started_at_ms=now_ms() - 90_000, name="ada")
    Watch(started.after(Joined("tiny", "http://h", "ada", "cd" * 32, "/node"), now_ms())).keep(folder.status)
    folder.checkpoint.write_bytes(b"a unit")
    assert run(["status"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "ended was killed, or its machine went down; it was started 90 s ago" in words
    assert "journalctl -k" in words
    assert "start with barnraise join http://127.0.0.1:9; the unit that was begun goes on" in words


def test_status_of_a_node_that_does_not_run_is_what_its_folder_knows(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node(home)
    code, result = told(capsys, "status")
    assert code == 0
    (one,) = result["nodes"]
    assert (one["running"], one["status"]["units"], one["status"]["why"]) == (False, 1, "1 of 1 units done")
    assert run(["status"]) == 0
    words = capsys.readouterr().out
    for expected in ("ada (0123abcd) for tiny: no node runs", "stopped", "merged in 0.1.3", "join http://127.0.0.1:9"):
        assert expected in words
    assert max(map(len, words.splitlines())) <= max(80, len(str(home)) + 30)


def test_history_has_every_unit_with_its_version(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node(home)
    _, result = told(capsys, "history")
    (unit,) = result["units"]
    assert (unit["state"], unit["version"], unit["bytes"], unit["loss_last"]) == ("merged", "0.1.3", 50, 3.0)
    run(["history"])
    assert "merged 0.1.3" in capsys.readouterr().out


def test_with_several_nodes_the_options_choose(home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    node(home)
    node(home, "huge")
    code, error = told(capsys, "history")
    assert code == 2
    assert "which one?" in error["reason"]
    assert told(capsys, "history", "--run", "huge")[1]["run"] == "huge"
    key = tmp_path / "key"
    public = Identity.load_or_create(key).public
    node(home, "tiny", public[:8])
    assert told(capsys, "history", "--run", "tiny", "--key", str(key))[1]["folder"].endswith(public[:8])
    assert told(capsys, "history", "--run", "tiny", "--key", "0123abcd" * 8)[1]["folder"].endswith("0123abcd")
    assert told(capsys, "history", "--key", "nonsense!")[0] == 2
    assert len(told(capsys, "status")[1]["nodes"]) == 3


@pytest.mark.parametrize("known", [True, False])
def test_why_asks_the_coordinator_of_the_node_that_trained_it_or_of_the_only_one(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    node(home)
    if known:
        node(home, "huge").history.unlink()
    asked: list[str | None] = []

    def find_rounds(place: str | None) -> Any:
        asked.append(place)
        raise UnreachableError("nobody is there")

    monkeypatch.setattr("barnraise.cli.why.find_rounds", find_rounds)
    assert told(capsys, "why", DIGEST[3:13] if known else "abcdef12")[0] == 8
    assert asked == ["http://127.0.0.1:9"]


def test_what_history_names_is_found_where_history_looked(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, asked = tmp_path / "elsewhere", []

    def find_rounds(place: str | None) -> Any:
        asked.append(place)
        raise UnreachableError("nobody is there")

    node(elsewhere)
    monkeypatch.setattr("barnraise.cli.why.find_rounds", find_rounds)
    assert run(["history", "--home", str(elsewhere)]) == 0
    command = capsys.readouterr().out.strip().rpartition(": barnraise ")[2]
    assert run(command.split()) == 8
    assert asked == ["http://127.0.0.1:9"]


def test_why_is_told_where_to_look_by_one_option(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for other in ("--from", "--run"):
        code, error = told(capsys, "why", "abcdef12", "--home", str(home), other, "http://other:9")
        assert code == 2
        assert "--home looks for a node of yours" in error["reason"]


def test_a_damaged_state_is_a_problem_in_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = node(home)
    (folder.root / "state.json").write_text("{")
    folder.status.write_text("{")
    code, result = told(capsys, "status")
    assert code == 0
    assert "is not a node's state" in result["nodes"][0]["state_problem"]
    assert run(["status"]) == 0


def line(name: str, place: int | None, **changes: Any) -> ContributorLine:
    fields = {
        "contributor": digest_bytes(name.encode())[3:],
        "name": name,
        "place": place,
        "value": None if place is None else 0.5,
        "scored": 0 if place is None else 4,
        "updates": {"merged": 3},
        "tokens": 12_345_678,
        "first_seen_at_ms": 1,
        "last_update_at_ms": 2,
    }
    return ContributorLine.model_validate(fields | changes)


def test_the_ranking_fits_a_terminal_and_marks_whose_node_this_is() -> None:
    mine = line("ada", 1)
    lines = ContributorLines(
        contributors=(mine, line("b" * 64, 2), line("eve", None)), total=9, first_round=1, last_round=40, step=0.1
    )
    words = _words(lines, {mine.contributor[:8]})
    assert max(map(len, words)) <= 80
    assert "ada (you)" in words[1]
    assert "the first 3 of 9" in words
    assert _words(ContributorLines(contributors=(), total=0, first_round=0, last_round=0, step=0.1), set())
