"""Commands as a test gives them: in this process, with what they said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from barnraise.cli import run

__all__ = ["answered", "told"]


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    """Exit code and envelope of a command with ``--json``; it must be all that was printed."""
    code = run([*argv, "--json"])
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    envelope: dict[str, Any] = json.loads(out)
    assert envelope["ok"] == (code == 0), envelope
    return code, envelope


def answered(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and the result or the error of a command with ``--json``."""
    code, envelope = told(capsys, *argv)
    return code, envelope.get("result") or envelope["error"]
