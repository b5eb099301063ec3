"""Where secrets of notifications are: in a variable of the environment, or in a file that only its owner reads."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from secrets import token_bytes

from barnraise.errors import ConfigValueError
from barnraise.private_file import create_private

__all__ = ["read_secret", "write_secret"]

BYTES_MAX = 4096


def read_secret(target: str, variable: str | None, file: str | None, environment: Mapping[str, str]) -> str:
    """The text of a target's secret.

    Args:
        variable, file: exactly one of them is given.

    Raises:
        ConfigValueError: the variable is not set, the file is missing or open to others.
    """
    if variable is not None:
        if not environment.get(variable):
            raise ConfigValueError(f"notify target {target}: the environment has no {variable}; set it to the secret")
        return environment[variable]
    path = Path(file or "").expanduser()
    try:
        with path.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            data = opened.read(BYTES_MAX)
    except OSError as error:
        raise ConfigValueError(f"notify target {target}: {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigValueError(f"notify target {target}: {path} has mode {mode:04o}; others read it. Run: chmod 600 it")
    return data.decode("utf-8", "replace").strip()


def write_secret(path: Path) -> str:
    """Make a new secret for a webhook in a file of mode 0600; the secret.

    Raises:
        ConfigValueError: there is something already.
    """
    secret = f"whsec_{base64.b64encode(token_bytes(32)).decode('ascii')}"
    try:
        create_private(path, f"{secret}\n".encode("ascii"))
    except FileExistsError as error:
        raise ConfigValueError(f"{path} is there already; name a new file") from error
    return secret
