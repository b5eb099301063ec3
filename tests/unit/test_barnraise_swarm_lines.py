"""What a process and its sidecar say to each other: what was said comes back, and nothing else is taken for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import BlobMissingError, SwarmError
from barnraise.swarm.lines import LINE_MAX_BYTES, answer_line, asked, asked_line, refusal_line, result_of
from barnraise.swarm.sidecar.serving import answer

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5)


@given(st.text(), st.dictionaries(st.text(), JSON))
@settings(deadline=None)
def test_a_request_comes_back_from_its_line(command: str, arguments: dict[str, Any]) -> None:
    line = asked_line(command, arguments)
    assert line.count(b"\n") == 1
    assert asked(line) == (command, arguments)


@given(st.dictionaries(st.text(), JSON))
@settings(deadline=None)
def test_a_result_comes_back_from_its_line(result: dict[str, Any]) -> None:
    assert result_of(answer_line(result)) == result


def test_a_refusal_is_raised_with_its_reason() -> None:
    with pytest.raises(SwarmError, match="nobody has it"):
        result_of(refusal_line("swarm", "nobody has it"))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"ok": true, "result": {}}',
        b"nonsense\n",
        b"[1]\n",
        b'{"ok": true}\n',
        b'{"ok": 1, "result": {}}\n',
        b'{"ok": false}\n',
        b'{"ok": true, "result": [1]}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_what_is_no_answer_is_refused(line: bytes) -> None:
    with pytest.raises(SwarmError):
        result_of(line)


def test_a_line_that_is_too_long_is_not_made() -> None:
    with pytest.raises(SwarmError, match="do not fit"):
        answer_line({"text": "x" * LINE_MAX_BYTES})


async def _echo(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return arguments


async def _missing(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    raise BlobMissingError("nobody has it")


async def _broken(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    raise KeyError("a fault of hivemind's")


COMMANDS = {"echo": _echo, "missing": _missing, "broken": _broken}


def _answered(line: bytes) -> dict[str, Any]:
    return dict(json.loads(asyncio.run(answer(line, COMMANDS))))


def test_a_command_is_answered_with_its_result() -> None:
    assert _answered(asked_line("echo", {"a": 1})) == {"ok": True, "result": {"a": 1}}


@pytest.mark.parametrize(
    ("line", "code", "reason"),
    [
        (asked_line("missing", {}), "blob-missing", "nobody has it"),
        (asked_line("other", {}), "swarm", "there is no command 'other'; there are broken, echo, missing"),
        (b"nonsense\n", "swarm", "a line of a sidecar is one JSON object"),
        (b"x" * 10, "swarm", "a line of a sidecar has at most 1,048,576 bytes, and an end"),
    ],
)
def test_what_cannot_be_done_is_answered_with_a_reason(line: bytes, code: str, reason: str) -> None:
    assert _answered(line) == {"ok": False, "error": {"code": code, "reason": reason}}


def test_a_fault_in_a_command_ends_that_command_only(capfd: pytest.CaptureFixture[str]) -> None:
    found = _answered(asked_line("broken", {}))
    assert found["error"] == {"code": "swarm", "reason": 'KeyError: "a fault of hivemind\'s"'.replace('"', "'", 0)}
    assert "Traceback" in capfd.readouterr().err
