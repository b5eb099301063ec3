"""What a command says: words for people, or one JSON envelope for programs.

    {"ok": true,  "command": "ls", "result": {...}}
    {"ok": false, "command": "ls", "error": {"code": "no-such-version", "reason": "..."}}

With ``--json`` the envelope is the only line on standard output, errors included. Without
it results go to standard output, warnings and errors to standard error.
"""

from __future__ import annotations

import json
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from barnraise.errors import BarnraiseError

__all__ = [
    "WIDTH",
    "JsonOption",
    "field",
    "print_error",
    "print_result",
    "print_warnings",
    "printable",
    "table",
    "wrapped",
]

WIDTH = 80
LABEL = 13  # columns; a digest of 67 characters fits after it

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")]


def print_result(command: str, result: dict[str, Any], *, as_json: bool, human: str) -> None:
    """Print what a command found.

    Args:
        result: JSON values. human: the same in words.
    """
    if as_json:
        print(json.dumps({"ok": True, "command": command, "result": result}, sort_keys=True, allow_nan=False))
    else:
        print(printable(human))


def print_error(command: str, error: BarnraiseError, *, as_json: bool) -> None:
    """Print why a command failed."""
    if as_json:
        told = {"code": error.code, "reason": error.reason}
        print(json.dumps({"ok": False, "command": command, "error": told}, sort_keys=True))
    else:
        print(f"barnraise: {printable(error.reason)}", file=sys.stderr)


def print_warnings(warnings: Iterable[str], *, as_json: bool) -> None:
    """Print warnings for people; in JSON they belong to the result."""
    if not as_json:
        for warning in warnings:
            print(f"barnraise: warning: {printable(warning)}", file=sys.stderr)


def printable(text: str) -> str:
    """``text`` without anything that could steer a terminal; line breaks stay."""
    return "".join(char if char == "\n" or unicodedata.category(char)[0] != "C" else ascii(char)[1:-1] for char in text)


def field(label: str, text: str) -> list[str]:
    """``  label     text``, broken to the width of a terminal; what goes on begins below the text."""
    first = f"  {label}".ljust(LABEL)
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=" " * LABEL, break_long_words=False, break_on_hyphens=False
    ) or [first.rstrip()]


def wrapped(line: str, indent: str = "") -> list[str]:
    """A line broken to the width of a terminal; what goes on is indented."""
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Aligned columns as lines; a column whose header begins with a space is right-aligned."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column].strip()) for line in lines) for column in range(len(header))]
    right = [title.startswith(" ") for title in header]
    return [_line(line, widths, right) for line in lines]


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        cell.strip().rjust(width) if to_right else cell.strip().ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    ]
    return "  ".join(padded).rstrip()
