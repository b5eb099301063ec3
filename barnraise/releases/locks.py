"""Locks between processes, as files that vanish with their holder.

``flock`` locks a file, not a name. Whoever gets the lock therefore looks whether the name still
means the file that is locked; if the former holder removed it meanwhile, it begins again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from barnraise.errors import FolderLockedError

__all__ = ["lock_path", "unlock_path", "vanishing_lock", "waiting_lock"]


def lock_path(path: Path, *, wait: bool = False) -> int | None:
    """Lock the file at ``path``, which is made if need be.

    Args:
        wait: until the holder is done; without it None is returned while there is one.

    Returns:
        The descriptor that holds the lock; closing it, or the end of the process, frees it.
    """
    how = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)


def unlock_path(path: Path, descriptor: int) -> None:
    """Remove a file that :func:`lock_path` locked, and free it."""
    path.unlink(missing_ok=True)
    os.close(descriptor)


@contextmanager
def vanishing_lock(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock at ``path``; the file is there only meanwhile.

    Raises:
        FolderLockedError: somebody else holds it; ``refusal`` says what that means.
    """
    descriptor = lock_path(path)
    if descriptor is None:
        raise FolderLockedError(f"{refusal}. Wait for it to end, or stop it")
    try:
        yield
    finally:
        unlock_path(path, descriptor)


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock at ``path`` that nobody holds for long."""
    descriptor = lock_path(path, wait=True)
    assert descriptor is not None
    try:
        yield
    finally:
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
