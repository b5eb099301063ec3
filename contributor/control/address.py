"""Where the control socket of a node's folder is: inside it, or elsewhere where that path is too long for a socket.

A Unix socket's path has at most 107 bytes on Linux and 103 on macOS, however long a file's may
be. Server and client find the same place from the folder alone.

Source: man 7 unix, sockaddr_un.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from barnraise.digest import digest_bytes

__all__ = ["PATH_MAX_BYTES", "private_folder", "socket_path"]

PATH_MAX_BYTES = 103


def socket_path(folder: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """The socket of the node in ``folder``."""
    whole = folder.resolve()
    near = whole / "control" / "socket"
    if len(os.fsencode(near)) <= PATH_MAX_BYTES:
        return near
    name = digest_bytes(os.fsencode(whole))[3:19]
    runtime = Path(environment.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    return runtime / f"barnraise-{os.geteuid()}" / name


def private_folder(folder: Path) -> bool:
    """Make ``folder`` where it is missing, for its owner only; whether it is such a folder now.

    In a place where anybody may make folders, somebody else could have made it first.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or folder.is_symlink():
        return False
    folder.chmod(0o700)
    return True
