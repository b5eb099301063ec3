"""Who is at the other end of a Unix socket, as the kernel says it. The socket's folder keeps others out already."""

from __future__ import annotations

import ctypes
import os
import socket
import struct

__all__ = ["is_owner", "peer_uid"]


def peer_uid(connection: socket.socket) -> int | None:
    """The user at the other end; None where the system does not say.

    Source: man 7 unix, SO_PEERCRED; man 3 getpeereid on macOS and BSD.
    """
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize("3i")
        _pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        return int(uid)
    ask = getattr(ctypes.CDLL(None, use_errno=True), "getpeereid", None)
    uid_c, gid_c = ctypes.c_uint32(), ctypes.c_uint32()
    if ask is None or ask(connection.fileno(), ctypes.byref(uid_c), ctypes.byref(gid_c)) != 0:
        return None
    return int(uid_c.value)


def is_owner(uid: int | None) -> bool:
    """Whether that user may command a node of ours: we ourselves, and who may do everything anyway."""
    return uid is not None and uid in {os.geteuid(), 0}
