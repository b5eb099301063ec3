"""The order of end-to-end tests: what takes longest begins first, so that nobody waits for one that began last."""

from __future__ import annotations

import pytest

# By the processor time of a file, the most first; any file may be missing here, and then comes after these.
LONGEST = (
    "test_run",
    "test_chaos",
    "test_demo",
    "test_digits",
    "test_turns",
    "test_swarm_team",
    "test_browser",
    "test_swarm_discovery",
    "test_swarm_blobs",
    "test_workers",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by file; tests of a file stay together, in their order, and on one process (``--dist loadfile``)."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))
