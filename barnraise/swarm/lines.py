"""What a process says to its sidecar, and is answered: one JSON object a line, one of each a connection.

    {"command": "fetch", "arguments": {"digest": "b3:..", "size": 4096}}
    {"ok": true, "result": {..}}
    {"ok": false, "error": {"code": "swarm", "reason": ".."}}

The socket between the two is in a folder that only their user may enter, so neither is a stranger; the
lines are bounded all the same, for what a sidecar passes on comes from strangers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from barnraise.errors import SwarmError

__all__ = ["LINE_MAX_BYTES", "answer_line", "asked", "asked_line", "refusal_line", "result_of"]

LINE_MAX_BYTES = 1 << 20


def asked_line(command: str, arguments: Mapping[str, Any]) -> bytes:
    """A request."""
    return _line({"command": command, "arguments": dict(arguments)})


def answer_line(result: Mapping[str, Any]) -> bytes:
    """An answer to what could be done."""
    return _line({"ok": True, "result": dict(result)})


def refusal_line(code: str, reason: str) -> bytes:
    """An answer to what could not."""
    return _line({"ok": False, "error": {"code": code, "reason": reason}})


def asked(line: bytes) -> tuple[str, dict[str, Any]]:
    """Command and arguments of a request.

    Raises:
        SwarmError: it is none.
    """
    value = _read(line)
    command, arguments = value.get("command"), value.get("arguments")
    if not isinstance(command, str) or not isinstance(arguments, dict):
        raise SwarmError("a request to a sidecar has a command and arguments")
    return command, arguments


def result_of(line: bytes) -> dict[str, Any]:
    """What was answered.

    Raises:
        SwarmError: the sidecar's refusal, or an answer that is none.
    """
    value = _read(line)
    if value.get("ok") is True and isinstance(value.get("result"), dict):
        return dict(value["result"])
    error = value.get("error")
    if not isinstance(error, dict):
        raise SwarmError("the sidecar gave neither a result nor a reason")
    raise SwarmError(str(error.get("reason", "the sidecar gave no reason")))


def _read(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise SwarmError(f"a line of a sidecar has at most {LINE_MAX_BYTES:,} bytes, and an end")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SwarmError("a line of a sidecar is one JSON object") from error
    if not isinstance(value, dict):
        raise SwarmError("a line of a sidecar is one JSON object")
    return value


def _line(value: dict[str, Any]) -> bytes:
    line = json.dumps(value).encode("ascii") + b"\n"
    if len(line) > LINE_MAX_BYTES:
        raise SwarmError(f"{len(line):,} bytes do not fit into a line of {LINE_MAX_BYTES:,}")
    return line
