"""What a node says: one printable line an event, and JSON that a program can rely on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.cli.join import _reporter
from contributor.events import (
    Fate,
    Joined,
    Leased,
    NodeEvent,
    Notice,
    Pulled,
    Received,
    Sent,
    Step,
    Stopped,
    Waiting,
    one_line,
)

DIGEST = "b3:" + "ab" * 32
EVENTS: list[NodeEvent] = [
    Joined("tiny", "http://h", "ada", "cd" * 32, "/home/ada/node"),
    Leased("0" * 32, 3, "0.1.2", "text", 20),
    Pulled("0.1.2", 1_000, 4_000_000),
    Step(5, 20, 3.14159),
    Sent(DIGEST, 1_000, 219_000, 4.0, 3.5),
    Received(DIGEST, 3),
    Fate(DIGEST, "merged", "merged in 0.1.3"),
    Waiting("waiting for others"),
    Notice("begins anew"),
    Stopped(1, "asked to stop"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_every_event_is_one_printable_line_and_plain_json(event: NodeEvent) -> None:
    assert event.line().isprintable()
    value = json.loads(json.dumps(event.as_json(), allow_nan=False))
    assert value.pop("event") == event.kind
    assert type(event)(**value) == event


def test_what_was_sent_is_compared_with_dense() -> None:
    assert EVENTS[4].line() == (
        "sent ababababab: 1,000 bytes, 219 times fewer than dense; training loss 4.000 -> 3.500"
    )


@settings(deadline=None)
@given(st.text(max_size=1000))
def test_foreign_text_stays_on_its_line(text: str) -> None:
    for event in (Waiting(text), Notice(text), Fate(DIGEST, "rejected", text), Leased("0", 1, text, text, 1)):
        assert event.line().isprintable()
    assert len(one_line(text)) <= 400
    assert json.loads(json.dumps(Waiting(text).as_json()))["reason"] == text


def test_a_pipe_gets_plain_lines_and_few_of_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with _reporter(as_json=False) as shown:
        for step in range(1, 13):
            shown.report(Step(step, 12, 4.0))
        shown.report(Waiting("for others"))
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "step 5/12",
        "step 10/12",
        "step 12/12",
        "for others",
    ]


def test_a_program_gets_every_event_as_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with _reporter(as_json=True) as shown:
        for event in EVENTS:
            shown.report(event)
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == [e.kind for e in EVENTS]
