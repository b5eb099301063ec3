"""How the ledger's database is opened: safe on SQLite, the same on PostgreSQL.

SQLite runs in WAL mode (readers never wait for the writer) with ``synchronous=FULL`` (a
commit is on the disk when it returns) unless its opener can do without. A writing
transaction takes the one write lock when it begins, never halfway, so two processes cannot
deadlock and what was read stays true.

Source: https://docs.sqlalchemy.org/en/20/dialects/sqlite.html (transactions and pysqlite),
https://www.sqlite.org/pragma.html#pragma_synchronous (what each level keeps in WAL mode)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from barnraise.digest import canonical_json
from barnraise.errors import BarnraiseError, ConfigValueError, DiskFullError, MissingExtraError, StorageError

__all__ = ["open_engine", "reading", "writing"]

BUSY_TIMEOUT_MS = 30_000
SQLITE_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")  # the second when there is no room for the WAL's index
POSTGRES_WRITE_LOCK = 0x62_61_72_6E  # "barn"


def open_engine(url_or_path: str | Path, *, read_only: bool = False, durable: bool = True) -> Engine:
    """An engine for a database URL, or for the SQLite file at a path.

    Args:
        read_only: of a SQLite file at a path: neither make it nor write to it.
        durable: see :meth:`~coordinator.ledger.ledger.Ledger.open`.

    Raises:
        ConfigValueError: neither a path nor a URL of a known database.
        MissingExtraError: the driver of that database is not installed.
    """
    text_url = str(url_or_path)
    url = text_url if "://" in text_url else f"sqlite:///{Path(url_or_path).absolute()}"
    if read_only:
        url = f"sqlite:///file:{quote(str(Path(url_or_path).absolute()))}?mode=ro&uri=true"
    try:
        backend = make_url(url).get_backend_name()
        engine = create_engine(url, json_serializer=lambda value: canonical_json(value).decode("ascii"))
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigValueError(f"the ledger URL names no known database: {error}") from error
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the driver {error.name} of this ledger is missing. Run: pip install {error.name}"
        ) from error
    if backend == "sqlite":
        event.listen(engine, "connect", _prepare_reading if read_only else partial(_prepare_sqlite, durable))
        event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that holds the write lock from its beginning, committed at the end of the block."""
    with _translated(), engine.connect().execution_options(takes_write_lock=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": POSTGRES_WRITE_LOCK})
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads one snapshot."""
    with _translated(), engine.connect() as connection, connection.begin():
        yield connection


def _prepare_sqlite(durable: bool, connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours, in _begin_sqlite
    wait = "FULL" if durable else "NORMAL"
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", f"synchronous={wait}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _prepare_reading(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("takes_write_lock", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    """Foreign errors of the database become ours, once, here."""
    try:
        yield
    except (BarnraiseError, RuntimeError):
        raise
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorname", "") in SQLITE_FULL:
            raise DiskFullError("the ledger's disk is full; nothing was recorded. Free some space.") from error
        raise StorageError(f"the ledger cannot be used: {error.orig}") from error
    except PoolTimeoutError as error:
        raise StorageError("too many requests use the ledger at once; nothing was recorded. Try again.") from error
    except DBAPIError as error:
        raise StorageError(f"the ledger refused: {error.orig}; nothing was recorded") from error
