"""A new file that nobody but its owner can read, and that is never written over another one."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["create_private"]


def create_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 that was not there before; it is on the disk when this returns.

    Raises:
        FileExistsError: something is there, and stays as it is.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
