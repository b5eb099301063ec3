"""Putting a merged model, or an adapter, into its folder: all of it or nothing, in place of an earlier merge.

Everything is written to a folder beside the target, which then takes the target's name. When
that fails or is stopped, the folder beside it goes; when it is killed, the next command that writes to the same
target removes what it left.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from barnraise.checkpoints.folder import INDEX, SINGLE, TRAVELLING
from barnraise.checkpoints.recipe import RECIPE
from barnraise.errors import DiskFullError, UsageError
from barnraise.releases.durable import disk_full_translated, exchange_folders, fsync_file, fsync_folder, make_folder
from barnraise.run_folder import locked_file

__all__ = ["check_space", "check_target", "free_bytes", "staged"]

_OURS = re.compile(r"model-\d{5}-of-\d{5}\.safetensors\Z")


def check_target(into: Path, inputs: Sequence[Path]) -> None:
    """Refuse to replace anything but an earlier merge, and never an input.

    Args:
        into: where the merged model goes. inputs: files and folders that it is made of.

    Raises:
        UsageError: ``into`` is a file, holds other things, or is an input.
    """
    if into.exists() and not into.is_dir():
        raise UsageError(f"{into} is a file, a merged model needs a folder; choose another place with --into")
    for path in inputs:
        if into.resolve() in (path.resolve(), *path.resolve().parents):
            raise UsageError(f"{path} is an input and would be replaced; choose another place with --into")
    there = sorted(path.name for path in into.iterdir()) if into.is_dir() else []
    foreign = [name for name in there if name not in {SINGLE, INDEX, RECIPE, *TRAVELLING} and not _OURS.match(name)]
    if there and (foreign or RECIPE not in there):
        raise UsageError(
            f"{into} holds {(foreign or there)[0]!a} and is not an earlier merge, which alone would be replaced; "
            "choose an empty or new folder with --into"
        )


def free_bytes(into: Path) -> int:
    """What the disk of ``into`` has left for us; nothing needs to exist yet."""
    folder = into.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(into: Path, needed_bytes: int) -> None:
    """Refuse to begin what cannot end.

    Raises:
        DiskFullError: the disk of ``into`` has less than ``needed_bytes``.
    """
    free = free_bytes(into)
    if free < needed_bytes:
        raise DiskFullError(
            f"the merged model needs {needed_bytes:,} bytes, the disk of {into} has {free:,}; nothing was written. "
            "Free some space, choose another place with --into, or a smaller --dtype"
        )


@contextmanager
def staged(into: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of ``into`` when the block ends without an error.

    Raises:
        FolderLockedError: another command writes to the same folder.
        DiskFullError: the disk filled up; ``into`` is as it was.
    """
    into = into.resolve()
    work = into.parent / f".{into.name}.merge"
    make_folder(work)
    with locked_file(work / "lock", f"another command already writes to {into}"):
        staging = work / "model"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            with disk_full_translated(into):
                staging.mkdir()
                yield staging
                for path in staging.iterdir():
                    fsync_file(path)
                fsync_folder(staging)
                exchange_folders(staging, into)
                fsync_folder(into.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)
