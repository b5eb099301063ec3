"""What nodes say to each other about a blob: a question, an answer, one short line of JSON each.

    {"ask": "state", "digest": "b3:.."}   ->  {"has": "whole"}
    {"ask": "blob", "digest": "b3:.."}    ->  {"has": "whole"} and the bytes, or another state and nothing

Both sides are strangers to each other, so neither line is read further than it may be long.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from barnraise.digest import is_digest
from barnraise.errors import BarnraiseError, SwarmError
from barnraise.swarm.blob_choice import Has, ranked

__all__ = ["BROKEN_OFF", "LINE_MAX_BYTES", "Question", "question_of", "state_line", "state_of", "usable"]

LINE_MAX_BYTES = 512
# What ends a stream: the connection or the disk, an end too early, a line without one, and words that are none of ours.
BROKEN_OFF = (OSError, EOFError, ValueError, asyncio.LimitOverrunError, BarnraiseError)
NAMES_MAX, NAMES_READ_MAX = 256, 8192
_PEER = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,64}\Z")  # base58 of an id


@dataclass(frozen=True, slots=True)
class Question:
    """About a blob: what the other has of it, or (``wants_bytes``) the blob itself."""

    digest: str
    wants_bytes: bool = False

    def line(self) -> bytes:
        return _line({"ask": "blob" if self.wants_bytes else "state", "digest": self.digest})


def question_of(line: bytes) -> Question:
    """What was asked.

    Raises:
        SwarmError: it is no question.
    """
    value = _read(line)
    ask, digest = value.get("ask"), value.get("digest")
    if ask not in ("state", "blob") or not isinstance(digest, str) or not is_digest(digest):
        raise SwarmError("a question is about the state of a blob, or for it, and names its digest")
    return Question(digest, ask == "blob")


def state_line(has: Has) -> bytes:
    """An answer; the bytes of a blob may follow."""
    return _line({"has": has.value})


def state_of(line: bytes) -> Has:
    """What was answered.

    Raises:
        SwarmError: it is no answer.
    """
    try:
        return Has(_read(line).get("has"))
    except ValueError as error:
        raise SwarmError(f"an answer is one of {', '.join(has.value for has in Has)}") from error


def usable(names: Iterable[Any], me: str) -> list[str]:
    """Of what was found where nodes leave their ids, those that can be ids of others, and not too many of them.

    Anybody may leave names there; which are left out is in an order of our own, so none can be before the others.
    """
    ids = {name for name in islice(names, NAMES_READ_MAX) if isinstance(name, str) and _PEER.match(name)}
    return ranked("", ids - {me}, me)[:NAMES_MAX]


def _line(value: dict[str, str]) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"


def _read(line: bytes) -> dict[str, Any]:
    if len(line) > LINE_MAX_BYTES or not line.endswith(b"\n"):
        raise SwarmError(f"a line between nodes has at most {LINE_MAX_BYTES} bytes, and an end")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SwarmError("a line between nodes is one JSON object") from error
    if not isinstance(value, dict):
        raise SwarmError("a line between nodes is one JSON object")
    return value
