"""What ``barnraise join`` refuses before it makes a key or asks anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnraise.cli import run


def test_a_field_without_data_is_refused_and_not_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    argv = ["join", "http://127.0.0.1:9", "--key", str(key), "--home", str(tmp_path), "--give-up-after", "0"]
    assert run([*argv, "--field", "body"]) == 2
    assert "--field would be ignored without --data; add --data, or leave it out" in capsys.readouterr().err
    assert not key.exists()


def test_a_folder_as_key_is_called_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["join", "http://127.0.0.1:9", "--key", str(tmp_path), "--give-up-after", "0"]) == 2
    assert f"--key {tmp_path} is a folder; name the key's file" in capsys.readouterr().err
