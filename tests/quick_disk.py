"""A ledger that never waits for the disk, for tests in which nobody pulls the plug.

A simulated run commits hundreds of times, and each time SQLite would wait, with a core that has nothing to do.
"""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.ledger import engine
from laws import ALL

__all__ = ["SHIPPED", "never_waits"]

SHIPPED = engine._prepare_sqlite
"""How a connection is prepared outside of tests."""


def _prepare(connection: Any, record: Any) -> None:
    SHIPPED(connection, record)
    connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(autouse=True, scope="session")
def never_waits() -> None:
    """For a ``conftest.py`` to import; ``make laws`` waits, and so do processes that tests start."""
    if not ALL:
        engine._prepare_sqlite = _prepare
