"""A ledger that costs a test little.

An empty one is migrated once, then copied, for most tests need one and migrating takes a tenth of a second. And nobody
pulls the plug: a simulated run commits hundreds of times, and each time a durable ledger would wait for the disk, with
a core that has nothing to do. ``make laws`` waits, and so does what the product opens by itself.
"""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

from coordinator.ledger import Ledger
from laws import ALL

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
    return Ledger.open(path, durable=ALL)
