"""Files that survive a power cut: written beside their place, fsynced, renamed, folder fsynced.

A reader sees the old content or the new, never a part. A full disk becomes
:class:`~barnraise.errors.DiskFullError` here, once, and leaves no temporary file behind.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from barnraise.errors import DiskFullError

__all__ = [
    "begin_writing",
    "disk_full_translated",
    "exchange_folders",
    "fsync_file",
    "fsync_folder",
    "full_disk_words",
    "make_folder",
    "quota_said",
    "replace_file",
    "replace_file_by",
    "write_all",
    "write_all_at",
    "write_temporary",
]

TEMPORARY_SUFFIX = ".part"
_FULL = {
    errno.ENOSPC: ("no space left", "Free some space"),
    errno.EDQUOT: ("your disk quota is used up", "Free some space"),
    errno.EFBIG: ("a file would be larger than it may be", "Raise the limit (ulimit -f shows it)"),
}
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_SYNC_FILE_RANGE_WRITE = 2


@contextmanager
def disk_full_translated(path: Path) -> Iterator[None]:
    """Turn "no space left", "quota exceeded" and "file too large" into our own error.

    Raises:
        DiskFullError: naming ``path``; whatever was half done is the caller's to undo.
    """
    try:
        yield
    except OSError as error:
        words = full_disk_words(error)
        if words is None:
            raise
        said, cure = words
        raise DiskFullError(
            f"{said} while writing below {path} ({error.strerror}); nothing was changed. {cure} and try again."
        ) from error


def full_disk_words(error: OSError) -> tuple[str, str] | None:
    """What is said of a disk that takes no more, and what helps; None of an error of another kind."""
    return None if error.errno is None else _FULL.get(error.errno)


def quota_said(error: DiskFullError) -> str | None:
    """What the system said of a quota that is used up; None where it is the disk that is full.

    The bytes that are free on the disk say nothing then: there may be plenty.
    """
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno == errno.EDQUOT:
            return cause.strerror
        cause = cause.__cause__
    return None


def fsync_file(path: Path) -> None:
    """Wait until the content of ``path`` is on the disk."""
    _fsync(path, os.O_RDONLY)


def fsync_folder(path: Path) -> None:
    """Wait until the names in the folder ``path`` are on the disk."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make ``path`` and its missing parents, their names durable too."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    fsync_folder(path.parent)


def begin_writing(descriptor: int, start: int = 0, count: int = 0) -> None:
    """Have the disk begin with what was written so far, and do not wait: an fsync later has less to wait for.

    Args:
        start, count: of the bytes that are meant; 0 bytes are all from there on.

    Where the system cannot say so nothing happens. Source: man 2 sync_file_range.
    """
    ask = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
    if ask is not None:
        ask(descriptor, ctypes.c_int64(start), ctypes.c_int64(count), ctypes.c_uint(_SYNC_FILE_RANGE_WRITE))


def write_temporary(folder: Path, write: Callable[[int], None], *, wait: bool = True, begin: bool = False) -> Path:
    """Make a new file in ``folder``, and let ``write`` fill its descriptor.

    Args:
        wait: until its content is on the disk.
        begin: where nobody waits, have the disk begin with it: for an fsync that comes later. Without that the system
            writes it when it likes, and whoever waits for another file does not wait for this one, too.

    Returns:
        Its path, for the caller to rename. When anything fails the file is gone again.

    Raises:
        DiskFullError: no space left.
    """
    path = folder / f"{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    try:
        with disk_full_translated(folder):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                write(descriptor)
                if wait:
                    os.fsync(descriptor)
                elif begin:
                    begin_writing(descriptor)
            finally:
                os.close(descriptor)
    except BaseException:
        with suppress(FileNotFoundError):
            path.unlink()
        raise
    return path


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all; its folder must exist.

    Raises:
        DiskFullError: no space left; ``path`` is as it was.
    """
    replace_file_by(path, lambda descriptor: write_all(descriptor, data))


def replace_file_by(path: Path, write: Callable[[int], None]) -> None:
    """As :func:`replace_file`, with what ``write`` puts into a descriptor.

    Raises:
        DiskFullError: no space left; ``path`` is as it was.
    """
    temporary = write_temporary(path.parent, write)
    temporary.replace(path)
    fsync_folder(path.parent)


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """``os.write`` until nothing is left."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def write_all_at(descriptor: int, data: bytes | bytearray | memoryview, at: int) -> None:
    """``os.pwrite`` until nothing is left."""
    view = memoryview(data).cast("B")
    while view:
        count = os.pwrite(descriptor, view, at)
        view, at = view[count:], at + count


def exchange_folders(staging: Path, folder: Path) -> None:
    """Give ``folder`` the content of ``staging``; afterwards ``staging`` holds the old one, or is gone."""
    if not folder.exists() or not any(folder.iterdir()):
        staging.rename(folder)  # also replaces an empty folder in one step
        return
    if _rename_exchange(staging, folder):
        return
    # Without renameat2 (not Linux, or an old network file system) a crash exactly here leaves no
    # release rather than a mixture; pulling again installs it.
    old = staging.with_name(f"{staging.name}-old")
    folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _rename_exchange(one: Path, other: Path) -> bool:
    """Swap two names atomically, where the system can. Source: man 2 rename, RENAME_EXCHANGE."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    paths = (ctypes.c_char_p(os.fsencode(one)), ctypes.c_char_p(os.fsencode(other)))
    return bool(rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], ctypes.c_uint(_RENAME_EXCHANGE)) == 0)
