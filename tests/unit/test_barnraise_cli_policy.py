"""``barnraise policy`` as its user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from barnraise.cli import run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "words" / "0123abcd"
    folder.mkdir(parents=True)
    (folder / "coordinator.url").write_text("http://127.0.0.1:1\n")
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    return tmp_path


def ask(home: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = run(["policy", *words, "--home", str(home), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_policy_is_loaded_changed_explained_and_unloaded(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, told = ask(home, capsys, "add", "schedule", 'hours=["mon 00:00-00:01"]', "zone=UTC")
    assert told["result"]["settings"] == {"hours": ["mon 00:00-00:01"], "zone": "UTC"}
    _, told = ask(home, capsys, "set", "schedule", 'hours=["daily"]')
    assert told["result"]["settings"] == {"hours": ["daily"], "zone": "UTC"}
    _, told = ask(home, capsys, "ls")
    assert list(told["result"]["loaded"]) == ["schedule"]
    assert "idle" in told["result"]["available"]
    _, told = ask(home, capsys, "explain")
    assert told["result"]["wishes"]["schedule"]["work"] is True
    assert told["result"]["told"]["reason"].endswith("is in 'daily'")
    assert "utc_offset_s" in told["result"]["seen"]
    _, told = ask(home, capsys, "remove", "schedule")
    assert told["result"] == {"removed": "schedule", "loaded": []}


def test_words_for_people_fit_a_terminal(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["policy", "add", "exclusive-app", 'programs=["no-such-program"]', "--home", str(home)])
    run(["policy", "ls", "--home", str(home)])
    run(["policy", "explain", "--home", str(home)])
    out = capsys.readouterr().out
    assert "exclusive-app: train: none of 1 named program is running" in out
    assert max(len(line) for line in out.splitlines() if not line.startswith("/")) <= 80


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("add", "idel"), 3, "there is no policy 'idel'"),
        (("add", "idle", "after=3"), 3, "did you mean 'after_s'"),
        (("add", "idle", "600"), 2, "expected is KEY=VALUE"),
        (("set", "idle", "after_s=3"), 3, "Load it: barnraise policy add idle"),
        (("remove", "idle"), 3, "policy 'idle' is not loaded; loaded: none"),
        (("explain", "idle"), 2, "policy 'idle' is not loaded; loaded: none"),
        (("ls", "--run", "other"), 15, "no node with --run other was ever here"),
    ],
)
def test_mistakes_are_named(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, reason: str
) -> None:
    got, told = ask(home, capsys, *words)
    assert (got, told["ok"]) == (code, False)
    assert reason in told["error"]["reason"]
    assert not list(home.rglob("policies.toml"))


def test_governor_settings_need_no_policy(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, told = ask(home, capsys, "set", "governor", "resume_after_s=3")
    assert told["result"]["settings"] == {"resume_after_s": 3.0}
    assert ask(home, capsys, "ls")[1]["result"]["loaded"] == {}
