"""An empty ledger: migrated once, then copied, for most tests need one and migrating takes a tenth of a second."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

from coordinator.ledger import Ledger

__all__ = ["fresh_ledger"]


@cache
def _empty() -> Path:
    path = Path(os.environ["BARNRAISE_TESTS_SHARED"]) / "empty.sqlite"  # conftest.py says where
    Ledger.open(path).close()
    return path


def fresh_ledger(path: Path) -> Ledger:
    """The ledger at ``path``, which need not be there yet."""
    if not path.exists():
        shutil.copyfile(_empty(), path)
    return Ledger.open(path)
