"""``barnraise identity`` as it is typed: what travels, what is never overwritten, what is told to whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from barnraise.cli import run
from barnraise.identity import Identity
from contributor.folder import NodeFolder


@pytest.fixture(name="home")
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "passphrase").write_text("correct horse\n")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """The result of a command, or the reason of its failure."""
    assert run(["identity", *words, "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    return told["result"] if code == 0 else told["error"]["reason"]


def test_a_new_key_has_a_code_that_is_for_its_owner_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "show")
    code_file = Path(told["recovery_code_file"])
    assert told["made"]
    assert code_file.stat().st_mode & 0o777 == 0o600
    assert len(code_file.read_text().strip().replace("-", "")) == 32
    again = said(capsys, "show")
    assert (again["made"], again["recovery_code_file"]) == (False, None)
    assert again["recovery_key"] == told["recovery_key"] is not None


def test_a_key_travels_and_overwrites_none(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = said(capsys, "show")
    file, secret = str(home / "ada.barnraise-key"), ("--passphrase-file", str(home / "passphrase"))
    assert "type a passphrase" in said(capsys, "export", file, code=2)
    said(capsys, "export", file, *secret)
    assert "not overwritten" in said(capsys, "export", file, *secret, code=3)
    there = str(home / "there.key")
    said(capsys, "import", file, *secret, "--key", there)
    assert Identity.load(Path(there)).public == mine["public"]
    assert said(capsys, "show", "--key", there)["recovery_key"] == mine["recovery_key"]
    assert "not overwritten" in said(capsys, "import", file, *secret, "--key", there, code=3)
    (home / "passphrase").write_text("wrong horse\n")
    assert "passphrase is wrong" in said(capsys, "import", file, *secret, "--key", str(home / "x.key"), code=3)
    assert not (home / "x.key").exists()
    assert "there is no file" in said(capsys, "import", str(home / "none"), *secret, "--key", str(home / "x"), code=3)


def test_a_rotated_key_comes_in_the_place_of_the_old_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = said(capsys, "show")["public"]
    folder = NodeFolder.of(home / "state" / "barnraise", "toy", old)
    with folder.lock():
        folder.url.write_text("http://toy.test\n")
    file, secret = str(home / "new.barnraise-key"), ("--passphrase-file", str(home / "passphrase"))
    new = said(capsys, "show", "--key", str(home / "elsewhere.key"))["public"]
    said(capsys, "export", file, *secret, "--key", str(home / "elsewhere.key"))
    with folder.lock():
        assert "let it finish first" in said(capsys, "import", file, *secret, "--in-place-of-old", code=7)
    said(capsys, "import", file, *secret, "--in-place-of-old")
    key = home / "config" / "barnraise" / "identity.key"
    assert Identity.load(key).public == new
    assert Identity.load(key.with_name(f"identity.key.{old[:8]}.retired")).public == old
    assert (home / "state" / "barnraise" / "toy" / new[:8] / "coordinator.url").is_file()
    assert not folder.root.exists()


def test_rotating_without_any_run_makes_a_new_key_and_keeps_the_old(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there is no key" in said(capsys, "rotate", code=3)
    old = said(capsys, "show")["public"]
    done = said(capsys, "rotate")
    assert (done["old"], done["runs"]) == (old, [])
    assert said(capsys, "show")["public"] == done["new"] != old
    assert Identity.load(Path(done["kept"])).public == old


def test_another_code_replaces_the_card(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = said(capsys, "show")["recovery_key"]
    assert said(capsys, "new-code")["recovery_key"] == said(capsys, "show")["recovery_key"] != first


def test_what_needs_a_code_or_a_coordinator_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--code-file FILE" in said(capsys, "recover", "http://toy.test", code=2)
    (home / "code").write_text("AAAA")
    assert "has 32 letters" in said(capsys, "recover", "http://toy.test", "--code-file", str(home / "code"), code=2)
    said(capsys, "show")
    assert "nothing to do" in said(capsys, "object", code=5)
