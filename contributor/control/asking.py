"""Ask the node of a folder to do something, or say in words why it cannot be asked."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import Any

from barnraise.errors import NodeError, NoNodeError
from contributor.control.address import socket_path
from contributor.control.lines import ANSWER_MAX_BYTES, asked_line, result_of
from contributor.folder import NodeFolder

__all__ = ["ask", "holder"]

PATIENCE_S = 10.0


def holder(folder: Path) -> str | None:
    """The process that works in a node's folder, as it wrote it down; None when nobody does."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(descriptor)
    return None


def ask(folder: Path, command: str) -> dict[str, Any]:
    """Send a command to the node that works in ``folder``; what it answered.

    Raises:
        NoNodeError: no node works there.
        NodeError: one does, and does not answer.
        UsageError: it refused.
    """
    process = holder(folder)
    if process is None:
        again = f"barnraise join {_url(folder)}{NodeFolder(folder).join_options}"
        raise NoNodeError(f"no node runs in {folder}; start it with: {again}")
    try:
        return result_of(_exchange(str(socket_path(folder)), asked_line(command)))
    except OSError as error:
        raise NodeError(
            f"the node in {folder} (process {process}) does not answer: {error.strerror or error}. It may be starting: "
            f"try again in a moment. Without commands it stops with: kill -TERM {process}"
        ) from error


def _exchange(path: str, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(path)
        connection.sendall(line)
        with connection.makefile("rb") as answers:
            answer = answers.readline(ANSWER_MAX_BYTES)
    if not answer:
        raise ConnectionError(0, "the connection was closed without an answer")
    return answer


def _url(folder: Path) -> str:
    try:
        return (folder / "coordinator.url").read_text().strip()
    except OSError:
        return "URL"
