"""The protocol of the control socket: one JSON object a line in each direction.

    {"command": "pause"}
    {"ok": true, "result": {"said": "..", "status": {..}}}
    {"ok": false, "error": {"code": "usage", "reason": "there is no command .."}}

A line that is asked has at most 4 KiB, an answer at most 1 MiB. Nothing is done for a line that
is longer, is no JSON object, or names no command.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from barnraise.errors import BarnraiseError, UsageError

__all__ = ["ANSWER_MAX_BYTES", "ASKED_MAX_BYTES", "Command", "answer_line", "asked_line", "result_of"]

ASKED_MAX_BYTES = 4 * 1024
ANSWER_MAX_BYTES = 1024 * 1024

Command = Callable[[], dict[str, Any]]


def asked_line(command: str) -> bytes:
    """What a client sends."""
    return json.dumps({"command": command}).encode("ascii") + b"\n"


def answer_line(line: bytes, commands: Mapping[str, Command]) -> bytes:
    """Do what a line asks, and say what came of it; never raises for what a line holds."""
    try:
        result = _command(line, commands)()
    except BarnraiseError as error:
        return _encoded({"ok": False, "error": {"code": error.code, "reason": error.reason}})
    return _encoded({"ok": True, "result": result})


def result_of(line: bytes) -> dict[str, Any]:
    """What a node answered.

    Raises:
        UsageError: the node's refusal, or an answer that is none.
    """
    try:
        value = json.loads(line)
        if value["ok"]:
            return dict(value["result"])
        reason = str(value["error"]["reason"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError("what listens at the node's socket is no node of this version; stop it and join again") from (
            error
        )
    raise UsageError(f"the node refused: {reason}")


def _command(line: bytes, commands: Mapping[str, Command]) -> Command:
    if len(line) > ASKED_MAX_BYTES:
        raise UsageError(f"a command has at most {ASKED_MAX_BYTES:,} bytes")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError("a command is one JSON object a line") from error
    name = value.get("command") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in commands:
        raise UsageError(f"there is no command {str(name)[:40]!a}; there are {', '.join(sorted(commands))}")
    return commands[name]


def _encoded(value: dict[str, Any]) -> bytes:
    line = json.dumps(value).encode("ascii") + b"\n"
    assert len(line) <= ANSWER_MAX_BYTES, "an answer is bounded by what it is made of"
    return line
