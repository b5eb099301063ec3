"""A node's metrics: all its time goes somewhere, counts only rise, labels come from lists."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from barnraise.metric import Readings
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
from contributor.metrics import registry_of
from contributor.tally import CATALOGUE, NodeTally

DIGEST = "b3:" + "1" * 64
UNIT: tuple[NodeEvent, ...] = (
    Joined("toy", "http://x", "ada", "a" * 64, "/home"),
    Leased("1", 1, "0.1.0", "text", 2),
    Pulled("0.1.0", 500, 4000),
    Step(1, 2, 4.0),
    Step(2, 2, 3.5),
    Finished(DIGEST, 1, "0.1.0", "text", 2, 1000, 2.0, 4.0, 3.5),
    Sent(DIGEST, 40, 4000, 4.0, 3.5),
    Received(DIGEST, 1),
    Waiting("nothing to do"),
    Resting("the owner is back"),
    Fate(DIGEST, "merged", "in 0.1.1"),
    Fate(DIGEST, "\u202e<hostile>", "?"),
    Notice("a note"),
    Stopped(1, "done"),
)


def numbers(found: Readings, name: str) -> dict[tuple[str, ...], float]:
    return {labels: value for labels, value in found.of(name).items() if isinstance(value, float | int)}


def heard(events: tuple[NodeEvent, ...] = UNIT, every_s: float = 1.0) -> tuple[NodeTally, float]:
    tally, now_s = NodeTally(0.0), 0.0
    for event in events:
        now_s += every_s
        tally.hear(event, now_s)
    return tally, now_s


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(UNIT), st.floats(0, 1000)), max_size=30))
def test_all_time_goes_somewhere_and_counts_only_rise(story: list[tuple[NodeEvent, float]]) -> None:
    tally, now_s = NodeTally(0.0), 0.0
    allowed = {metric.name: metric for metric in CATALOGUE}
    before: dict[tuple[str, tuple[str, ...]], float] = {}
    for event, wait_s in story:
        now_s += wait_s
        tally.hear(event, now_s)
        found = tally.readings(now_s, "0.1.0")
        seconds = numbers(found, "barnraise_node_activity_seconds_total")
        assert abs(sum(seconds.values()) - now_s) < 1e-6 * max(now_s, 1)
        now = {
            (name, labels): value
            for name in found
            if allowed[name].kind == "counter"
            for labels, value in numbers(found, name).items()
        }
        assert all(now[key] >= value for key, value in before.items())
        assert all(len(found.of(name)) <= allowed[name].at_most for name in found)
        before = now


def test_a_unit_is_counted() -> None:
    tally, now_s = heard()
    found = tally.readings(now_s + 5, "0.1.0")
    totals = {
        "steps": 2,
        "units": 1,
        "tokens": 1000,
        "pulled_bytes": 500,
        "sent_bytes": 40,
        "dense_bytes": 4000,
        "receipts": 1,
    }
    assert {name: numbers(found, f"barnraise_node_{name}_total")[()] for name in totals} == totals
    fates = numbers(found, "barnraise_node_fates_total")
    assert (fates["merged",], fates["other",], sum(fates.values())) == (1, 1, 2)
    seconds = {labels[0]: value for labels, value in numbers(found, "barnraise_node_activity_seconds_total").items()}
    assert seconds == {
        "starting": 1.0,
        "asking": 2.0,
        "pulling": 1.0,
        "training": 2.0,
        "compressing": 1.0,
        "sending": 2.0,
        "waiting": 1.0,
        "resting": 4.0,
        "stopped": 5.0,
    }
    assert found.of("barnraise_node_loss") == {(): 3.5}


def test_what_a_scrape_gets_is_what_the_catalogue_lists() -> None:
    tally, now_s = heard()
    text = generate_latest(registry_of(tally, lambda: now_s)).decode()
    for metric in CATALOGUE:
        if "_gpu_" not in metric.name:
            assert f"# HELP {metric.name} {metric.meaning}" in text
    assert 'barnraise_node_info{run="toy"' in text
    assert "hostile" not in text
