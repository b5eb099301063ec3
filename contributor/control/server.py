"""The thread of a node that listens for commands. One connection at a time, each for a few seconds at most."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from contributor.control.address import private_folder, socket_path
from contributor.control.lines import ASKED_MAX_BYTES, Command, answer_line
from contributor.control.peer import is_owner, peer_uid

__all__ = ["listening"]

PATIENCE_S = 2.0
LINES_MAX = 100
WAITING_MAX = 8


@contextmanager
def listening(folder: Path, commands: Mapping[str, Command], say: Callable[[str], None]) -> Iterator[None]:
    """Take commands for the node in ``folder`` inside the block. The caller holds the folder's lock.

    A node that cannot be commanded still works: why it cannot is said, and that is all.
    """
    path = socket_path(folder)
    try:
        listener = _bound(path)
    except OSError as error:
        say(f"this node takes no commands from other shells: {path} could not be made ({error.strerror or error})")
        yield
        return
    thread = threading.Thread(target=_serve, args=(listener, commands), name="barnraise-control", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE_S)
        path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    """A listening socket at ``path``; one that a killed node has left there is replaced.

    Raises:
        OSError: it cannot be made there.
    """
    if not private_folder(path.parent):
        raise PermissionError(0, f"{path.parent} belongs to somebody else")
    path.unlink(missing_ok=True)  # nobody listens there: the folder's lock is ours
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(WAITING_MAX)
    except BaseException:
        listener.close()
        raise
    return listener


def _serve(listener: socket.socket, commands: Mapping[str, Command]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # closed: the node ends
        with connection:
            connection.settimeout(PATIENCE_S)
            with suppress(OSError):
                if is_owner(peer_uid(connection)):
                    _converse(connection, commands)


def _converse(connection: socket.socket, commands: Mapping[str, Command]) -> None:
    with connection.makefile("rb") as asked:
        for _ in range(LINES_MAX):
            line = asked.readline(ASKED_MAX_BYTES + 1)
            if not line:
                return
            connection.sendall(answer_line(line, commands))
            if not line.endswith(b"\n"):
                return  # too long: what follows is the rest of it
