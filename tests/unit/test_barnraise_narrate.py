"""A round in words: what its record says of elements in turn."""

from __future__ import annotations

from typing import Any

import pytest

from barnraise.narrate import in_turn


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({}, ""),
        ({"turns": None}, ""),
        ({"turns": {"updates": None, "patch": None}}, ""),
        ({"turns": {"updates": 8, "patch": 8}}, "one of 8 elements had its turn"),
        ({"turns": {"updates": 8, "patch": None}}, "updates say one of 8 elements"),
        ({"turns": {"updates": None, "patch": 4}}, "the patch says one of 4 elements"),
        ({"turns": {"updates": 8, "patch": 4}}, "updates say one of 8 elements, the patch says one of 4 elements"),
    ],
)
def test_whose_turn_it_was(record: dict[str, Any], words: str) -> None:
    assert in_turn(record) == words
