"""Parts of a round of which one is free of culprits, wherever they are."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.acceptance.blame.footing import parts_to_stand_on


def names(count: int) -> list[str]:
    return [f"b3:{index:04x}" for index in range(count)]


def parts_of(count: int) -> list[tuple[str, ...]]:
    return list(parts_to_stand_on(names(count), dict.fromkeys(names(count), 1.0)))


@given(count=st.integers(12, 100), culprits=st.integers(0, 4), seed=st.integers(0, 2**16))
@settings(deadline=None)
def test_up_to_four_culprits_leave_a_part_of_a_quarter(count: int, culprits: int, seed: int) -> None:
    bad = random.Random(seed).sample(names(count), culprits)
    clean = [part for part in parts_of(count) if not set(bad) & set(part)]
    assert max(map(len, clean)) >= count // 4
    if culprits <= 3:
        assert max(map(len, clean)) >= 2 * (count // 6)


@given(count=st.integers(24, 100), seed=st.integers(0, 2**16))
@settings(deadline=None)
def test_six_culprits_leave_a_part_of_a_sixth(count: int, seed: int) -> None:
    bad = random.Random(seed).sample(names(count), 6)
    assert max(len(part) for part in parts_of(count) if not set(bad) & set(part)) >= 2 * (count // 12)


def test_there_are_few_parts_and_each_is_named_once() -> None:
    assert parts_of(11) == []
    for count in range(12, 100):
        parts = parts_of(count)
        assert len(parts) <= 15 + 9 * (count >= 24)
        assert all(len(set(part)) == len(part) and set(part) <= set(names(count)) for part in parts)


def test_of_one_size_the_least_suspected_come_first() -> None:
    updates = names(12)
    weights = {update: 1.0 + (update == updates[11]) for update in updates}
    first_six = list(parts_to_stand_on(updates, weights))[:6]
    assert [updates[11] in part for part in first_six] == [False] * 4 + [True] * 2
