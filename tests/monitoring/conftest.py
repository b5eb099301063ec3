"""Where Prometheus and promtool are; `make monitoring` says so if they cannot be had."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def tool(name: str) -> str:
    """The path of ``prometheus`` or ``promtool``."""
    folder = os.environ.get("BARNRAISE_PROMETHEUS")
    found = shutil.which(name, path=folder) if folder else shutil.which(name)
    if found is None:
        pytest.fail(f"there is no {name}; run these tests with: make monitoring")
    return str(Path(found).resolve())


@pytest.fixture(scope="session")
def promtool() -> str:
    return tool("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    return tool("prometheus")
