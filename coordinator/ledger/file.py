"""The ledger's SQLite file as a file: copied while somebody writes to it, and looked at for damage."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["copy_file", "faults_of"]

FAULTS_TOLD = 4


def copy_file(path: Path, target: Path) -> None:
    """Copy a ledger as it is at one moment, by SQLite's own backup, into one file whatever the source's mode."""
    with (
        closing(sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")


def faults_of(path: Path) -> list[str]:
    """What SQLite finds wrong with a file, the first few.

    Raises:
        sqlite3.DatabaseError: it cannot be read at all.
    """
    with closing(sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True)) as connection:
        answers = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({FAULTS_TOLD})")]
    return [] if answers == ["ok"] else answers
