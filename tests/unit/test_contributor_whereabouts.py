"""Where a coordinator is: how long it was silent, and that everybody follows it."""

from __future__ import annotations

import pytest

from barnraise.errors import UnreachableError
from contributor.events import NodeEvent
from contributor.interrupt import Interrupt
from contributor.patience import Patience
from contributor.transport import Answer, FollowingTransport
from contributor.whereabouts import Whereabouts

OLD, NEW = "http://old:1", "http://new:2"


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_silence_begins_with_the_first_question_in_vain_and_ends_with_an_answer() -> None:
    clock = Clock()
    where = Whereabouts(OLD, clock)
    assert where.silent_s == 0
    where.missed()
    clock.now_s += 20
    where.missed()
    assert where.silent_s == 20
    where.heard()
    assert where.silent_s == 0
    where.missed()
    where.move(NEW)
    assert (where.url, where.silent_s) == (NEW, 0)


def test_who_waits_follows_a_coordinator_that_moved_and_begins_to_count_anew() -> None:
    where, seen, asked = Whereabouts(OLD), list[NodeEvent](), list[str]()

    def call() -> str:
        asked.append(where.url)
        if where.url == OLD:
            raise UnreachableError("the connection was refused")
        if len(asked) < 6:
            raise UnreachableError("it starts")
        return "answered"

    def slept(_seconds: float) -> None:
        if len(asked) == 4:
            where.move(NEW)

    patience = Patience(where, Interrupt(slept), seen.append, jitter=lambda: 0.0)
    assert patience.ask(call) == "answered"
    assert asked == [OLD] * 4 + [NEW] * 2
    pauses = [event.line().split("trying again in ")[1].split(" s")[0] for event in seen]
    assert pauses == ["0.2", "0.5", "1.0", "2.0", "0.2"]
    assert where.silent_s == 0


def test_requests_go_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorded:
        def __init__(self, url: str) -> None:
            self.url = url

        def request(self, _method: str, path: str, _body: bytes | None = None) -> Answer:
            return Answer(200, f"{self.url}{path}".encode())

        def close(self) -> None:
            closed.append(self.url)

    closed: list[str] = []
    monkeypatch.setattr("contributor.transport.HttpTransport", Recorded)
    where = Whereabouts(OLD)
    transport = FollowingTransport(where)
    assert transport.request("GET", "/a").body == b"http://old:1/a"
    where.move(NEW)
    assert transport.request("GET", "/a").body == b"http://new:2/a"
    assert closed == [OLD]
