"""What a node does and why, moved on by its events alone."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from contributor.events import (
    Fate,
    Finished,
    Joined,
    Leased,
    NodeEvent,
    Notice,
    Pulled,
    Received,
    Resting,
    Sent,
    Step,
    Stopped,
    Waiting,
)
from contributor.status import CURVE_MAX, Curve, NodeStatus, Watch, read_status

DIGEST = "b3:" + "ab" * 32
STORY: list[tuple[NodeEvent, str, str]] = [
    (Joined("tiny", "http://h", "ada", "cd" * 32, "/home/ada/node"), "waiting", "asking for work"),
    (Waiting("no round is open yet"), "waiting", "no round is open yet"),
    (Leased("0" * 32, 3, "0.1.2", "text", 20), "pulling", ""),
    (Pulled("0.1.2", 1_000, 4_000_000), "training", ""),
    (Step(1, 20, 4.0), "training", ""),
    (Resting("paused by its owner"), "resting", "paused by its owner"),
    (Step(2, 20, 3.0), "training", ""),
    (Finished(DIGEST, 3, "0.1.2", "text", 20, 640, 9.0, 4.0, 3.0), "sending", ""),
    (Sent(DIGEST, 50, 200, 4.0, 3.0), "sending", ""),
    (Received(DIGEST, 3), "waiting", "asking for work"),
    (Fate(DIGEST, "merged", "merged in 0.1.3", "0.1.3"), "waiting", "asking for work"),
    (Notice("the machine is warm"), "waiting", "asking for work"),
    (Stopped(1, "asked to stop"), "stopped", "asked to stop"),
]


def told(*events: NodeEvent) -> NodeStatus:
    status = NodeStatus(pid=1, started_at_ms=0)
    for at_ms, event in enumerate(events, start=1):
        status = status.after(event, at_ms)
    return status


def test_every_event_moves_what_it_should() -> None:
    status = NodeStatus(pid=1, started_at_ms=0)
    for at_ms, (event, doing, why) in enumerate(STORY, start=1):
        status = status.after(event, at_ms)
        assert (status.doing, status.why) == (doing, why), event
    assert (status.units, status.tokens, status.bytes_up, status.bytes_down) == (1, 640, 50, 1_000)
    assert status.last_receipt == {"digest": DIGEST, "round": 3, "at_ms": 10}
    assert [fate["version"] for fate in status.fates] == ["0.1.3"]
    assert status.curve.losses == (4.0, 3.0)


def test_it_says_since_when() -> None:
    status = told(Waiting("a"), Waiting("b"), Step(1, 2, 4.0), Step(2, 2, 4.0))
    assert status.since_ms == 3


def test_it_survives_json_and_the_disk(tmp_path: Path) -> None:
    status = told(*(event for event, _, _ in STORY))
    assert NodeStatus.from_json(json.loads(json.dumps(status.as_json()))) == status
    watch = Watch(status)
    watch.keep(tmp_path / "status.json")
    assert read_status(tmp_path / "status.json") == status
    (tmp_path / "status.json").write_text('{"pid": 1}')
    assert read_status(tmp_path / "status.json") is None
    assert read_status(tmp_path / "nothing") is None


@settings(deadline=None)
@given(st.integers(0, 5000))
def test_a_curve_is_bounded_and_keeps_every_strideth_point(count: int) -> None:
    curve = Curve()
    for step in range(count):
        curve = curve.with_loss(float(step))
    assert curve.seen == count
    assert len(curve.losses) <= CURVE_MAX
    assert list(curve.losses) == [float(step) for step in range(0, count, curve.stride)]


def test_notices_and_fates_are_bounded() -> None:
    status = told(*(Notice(str(i)) for i in range(50)), *(Fate(DIGEST, "merged", str(i)) for i in range(50)))
    assert [notice["text"] for notice in status.notices] == [str(i) for i in range(40, 50)]
    assert len(status.fates) == 10


def test_the_token_of_the_page_is_not_left_on_the_disk(tmp_path: Path) -> None:
    watch = Watch(told())
    watch.set(page="http://127.0.0.1:1/secret/")
    assert watch.status.page
    watch.keep(tmp_path / "status.json")
    assert "secret" not in (tmp_path / "status.json").read_text()
