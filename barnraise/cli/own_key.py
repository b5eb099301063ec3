"""The key that a command is about: options, and finding it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barnraise.errors import ConfigMissingError, UsageError
from barnraise.identity import Identity, usual_key

__all__ = ["KeyOption", "key_file", "present"]

KeyOption = Annotated[Path | None, typer.Option("--key", help="Another key file.")]


def key_file(key: Path | None) -> Path:
    """The file that was named, else the usual one.

    Raises:
        UsageError: a folder was named.
    """
    if key is not None and key.is_dir():
        raise UsageError(f"--key {key} is a folder; name the key's file, which is made where there is none yet")
    return key or usual_key()


def present(path: Path) -> Identity:
    """The key in a file, which is not made here.

    Raises:
        ConfigMissingError: there is none.
    """
    try:
        return Identity.load(path)
    except FileNotFoundError as error:
        raise ConfigMissingError(f"there is no key in {path} yet; make one with: barnraise identity show") from error
