"""Measuring an upload is bounded: in one body, at one time, and for all strangers together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.gateway.discard import DISCARD_MAX_BYTES, PER_MINUTE_BYTES, Allowance
from doorstep import Doorstep, doorstep


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Doorstep]:
    with doorstep(tmp_path / "run") as opened:
        yield opened


def discard(door: Doorstep, size: int, **headers: str) -> tuple[int, object]:
    answer = door.call("POST", "/v1/discard", bytes(size), {"content-length": str(size), **headers})
    return answer.status, answer.value


def test_bytes_are_counted_and_leave_no_trace(door: Doorstep) -> None:
    before = door.trace()
    assert discard(door, 1000) == (200, {"size_bytes": 1000})
    assert door.trace() == before


@pytest.mark.parametrize("length", [str(DISCARD_MAX_BYTES + 1), "9" * 30, "-1", "x", ""])
def test_a_body_that_is_too_large_or_says_no_length_is_refused(door: Doorstep, length: str) -> None:
    answer = door.call("POST", "/v1/discard", b"", {"content-length": length})
    assert (answer.status, answer.code) == (413, "oversized-message")


def test_more_than_announced_is_refused(door: Doorstep) -> None:
    answer = door.call("POST", "/v1/discard", [b"1234", b"5678"], {"content-length": "5"})
    assert answer.code == "oversized-message"


def test_all_strangers_share_one_allowance_that_refills(door: Doorstep) -> None:
    for _ in range(PER_MINUTE_BYTES // DISCARD_MAX_BYTES):
        assert discard(door, DISCARD_MAX_BYTES)[0] == 200
    assert discard(door, DISCARD_MAX_BYTES)[0] == 429
    door.now_ms += 60_000
    assert discard(door, DISCARD_MAX_BYTES)[0] == 200


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 500), st.integers(-50, 20_000)), max_size=60))
def test_in_no_time_is_more_given_out_than_the_bucket_and_its_refill(takes: list[tuple[int, int]]) -> None:
    allowance, now_ms, given_out, newest = Allowance(1000, 0), 0, 0, 0
    for size, later_ms in takes:
        now_ms += later_ms
        newest = max(newest, now_ms)
        if allowance.take(size, now_ms) == 0:
            given_out += size
        assert given_out <= 1000 + newest * 1000 / 60_000 + 1e-6
