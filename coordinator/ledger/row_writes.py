"""How projections write a row: what must be new is inserted or refused, what must be there is one row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, insert
from sqlalchemy.exc import IntegrityError

__all__ = ["insert_row", "require_one"]


def insert_row(connection: Connection, table: Table, values: dict[str, Any], refusal: Exception) -> None:
    """Insert a row, or raise ``refusal`` where a uniqueness rule says no."""
    try:
        connection.execute(insert(table).values(values))
    except IntegrityError as error:
        raise refusal from error


def require_one(count: int, reason: str) -> None:
    """Make sure that exactly one row was changed.

    Raises:
        RuntimeError: none or several were, with this reason; an error of our own.
    """
    if count != 1:
        raise RuntimeError(reason)
