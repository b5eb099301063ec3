"""How fast bytes may go: pieces and pauses that keep to a rate, which may change on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.releases.http_source import HttpSource, Reply
from contributor.pacing import PIECE_MAX_BYTES, PIECE_MIN_BYTES, Pacing, piece_bytes

RATES = st.floats(1.0, 1e9)


@settings(deadline=None)
@given(RATES)
def test_a_piece_is_about_a_second_and_within_bounds(rate: float) -> None:
    assert PIECE_MIN_BYTES <= piece_bytes(rate) <= PIECE_MAX_BYTES
    assert piece_bytes(None) == PIECE_MAX_BYTES
    if PIECE_MIN_BYTES <= rate <= PIECE_MAX_BYTES:
        assert abs(piece_bytes(rate) - rate) <= 1


@dataclass
class Line:
    """A clock that moves when it is slept on, and a rate that a test sets."""

    rate: float | None = 1000.0
    now_s: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 1 << 30), st.floats(0, 100)), min_size=1, max_size=9), RATES)
def test_pieces_and_pauses_together_keep_to_the_rate(pieces: list[tuple[int, float]], rate: float) -> None:
    line = Line(rate)
    pacing = Pacing(lambda: line.rate, line.sleep, lambda: line.now_s)
    for sent, took_s in pieces:
        began_s = line.now_s
        line.now_s += took_s
        pacing.after(sent, began_s)
        assert line.now_s - began_s == pytest.approx(max(took_s, sent / rate), rel=1e-6, abs=1e-3)  # and no longer
    assert all(wait_s > 0 for wait_s in line.slept)
    line.rate, waits = None, len(line.slept)
    pacing.after(pieces[0][0], line.now_s)
    assert len(line.slept) == waits


def test_a_limit_that_is_lifted_or_set_holds_from_the_next_piece_on() -> None:
    line = Line()
    pacing = Pacing(lambda: line.rate, line.sleep, lambda: line.now_s)
    pacing.after(5000, 0.0)
    line.rate = None
    pacing.after(5000, line.now_s)
    line.rate = 500.0
    pacing.after(5000, line.now_s)
    assert line.slept == [5.0, 10.0]


def test_connections_share_the_rate_and_a_limit_that_is_lifted_holds_at_once() -> None:
    line, slept = Line(100.0), list[float]()
    down = Pacing(lambda: line.rate, slept.append, lambda: line.now_s)
    down.after(50)
    down.after(50)  # on another connection, while the first one waits
    line.now_s = 5.0
    down.after(50)
    assert slept == [0.5, 1.0, 0.5]
    line.rate = None
    down.after(10**9)
    assert len(slept) == 3


def test_every_piece_of_an_answer_is_paced() -> None:
    @contextmanager
    def opener(_url: str, _headers: Mapping[str, str]) -> Iterator[Reply]:
        yield Reply(200, {}, iter([b"abc", b"de"]))

    sizes: list[int] = []
    source = HttpSource("http://127.0.0.1:1", opener, sizes.append)
    assert source.read("timestamp.json", 100) == b"abcde"
    assert sizes == [3, 2]
