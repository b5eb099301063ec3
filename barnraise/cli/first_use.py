"""Say once what a recovery code is, where its owner can see it: on the terminal, else in a file of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from barnraise.errors import UsageError

if TYPE_CHECKING:
    from barnraise.recovery import RecoveryCode

__all__ = ["code_file", "greet", "typed_code"]


def code_file(key: Path) -> Path:
    """Where the code of a key goes when nobody is at the terminal."""
    return key.with_name(f"{key.name}.recovery-code.txt")


def greet(key: Path, code: RecoveryCode, *, as_json: bool = False) -> Path | None:
    """Show a new code once.

    Args:
        as_json: standard output is for a program.

    Returns:
        the file that has it; None when it was shown on the terminal, and is nowhere else.
    """
    why = "If this machine or its key is lost, this code puts another key in its place and keeps your history:"
    if sys.stderr.isatty() and not as_json:
        print(f"{why}\n\n    {code.text}\n", file=sys.stderr)
        print("Write it on paper now: it is shown once and stored nowhere. (docs/identity.md)\n", file=sys.stderr)
        return None
    path = code_file(key)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{code.text}\n")
    print(f"barnraise: a recovery code for your key is in {path}; keep it on paper, then delete it", file=sys.stderr)
    return path


def typed_code(file: Path | None) -> RecoveryCode:
    """The code in a file, or typed at the terminal without being shown.

    Raises:
        UsageError: it is none, or there is nobody to type it.
    """
    from barnraise.recovery import RecoveryCode

    if file is not None:
        return RecoveryCode.parse(file.read_text(encoding="utf-8", errors="replace"))
    if not sys.stdin.isatty():
        raise UsageError("nobody is at a terminal to type the recovery code; give a file: --code-file FILE")
    import typer

    return RecoveryCode.parse(typer.prompt("recovery code", hide_input=True, err=True))
