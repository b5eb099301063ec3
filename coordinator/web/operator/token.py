"""The operator's token: 32 random bytes in ``RUN/keys/operator.token``, readable by its owner only.

Whoever can read it may order whatever ``barnraise yank`` and its likes may, so it never leaves the
coordinator's machine but by its owner's hand. Another token ends all sessions.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from barnraise.errors import ConfigValueError
from barnraise.releases.durable import make_folder, replace_file
from barnraise.run_folder import RunFolder

__all__ = ["make_token", "read_token", "token_path"]

LETTERS_MAX = 512


def token_path(folder: RunFolder) -> Path:
    return folder.keys / "operator.token"


def make_token(folder: RunFolder, *, again: bool = False) -> str:
    """The token of a run, made where there is none; ``again`` puts a new one in its place.

    Raises:
        ConfigValueError: others can read it.
        DiskFullError: no space left.
    """
    path = token_path(folder)
    if not again and (token := read_token(folder)) is not None:
        return token
    make_folder(path.parent)
    token = secrets.token_urlsafe(32)
    before = os.umask(0o077)
    try:
        replace_file(path, f"{token}\n".encode("ascii"))
    finally:
        os.umask(before)
    return token


def read_token(folder: RunFolder) -> str | None:
    """The token; None where none was made.

    Raises:
        ConfigValueError: others can read it, so it is nobody's secret any more.
    """
    path = token_path(folder)
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text(encoding="ascii", errors="replace")[:LETTERS_MAX].strip()
    except FileNotFoundError:
        return None
    if mode & 0o077:
        raise ConfigValueError(
            f"{path} is readable by others (mode {mode:04o}), so anybody here may have the token. Make another one: "
            f"barnraise operator token --run {folder.root} --rotate"
        )
    return text or None
