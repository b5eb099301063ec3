"""The feed of releases: what RFC 4287 wants of a feed, stable ids, and hostile text that stays text."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.gateway.feed import ATOM, ENTRIES_MAX, Entry, atom, entries_of
from coordinator.ledger import ReleaseRow
from coordinator.ledger.events import ReleaseTagged
from coordinator.ledger.order_events import ReleasePromoted, ReleaseYanked
from doorstep import BASE, START_MS, doorstep

A = f"{{{ATOM}}}"
ROW = ReleaseRow(
    "0.1.1",
    5,
    "0.1.0",
    BASE,
    BASE,
    1,
    "patch",
    "all 5 supported tests are non-inferior",
    None,
    None,
    None,
    START_MS,
    {"loss-text": {"effect": -0.26, "low": -0.284, "high": -0.236, "unit": "bits per byte", "passed": True}},
)
HOSTILE = st.text(st.characters(codec=None), max_size=200) | st.sampled_from(
    ["<script>alert(1)</script>", "]]>", "&lt;", "\x00\x08\x1b[2J", "\u202egnp", "\ud800", '" onload="x', "a" * 100_000]
)


def required(feed: ElementTree.Element) -> None:
    """What RFC 4287 says must be there, once, in a feed and in every entry (4.1.1, 4.1.2)."""
    assert feed.tag == f"{A}feed"
    for element in (feed, *feed.findall(f"{A}entry")):
        for name in ("id", "title", "updated"):
            (found,) = element.findall(f"{A}{name}")
            assert found.text
        assert datetime.fromisoformat(element.findtext(f"{A}updated") or "").tzinfo is not None
        assert element.findtext(f"{A}id", "").startswith("urn:uuid:")
        alternates = [link for link in element.findall(f"{A}link") if link.get("rel") == "alternate"]
        assert len(alternates) == 1
    assert feed.findtext(f"{A}author/{A}name")
    assert [link for link in feed.findall(f"{A}link") if link.get("rel") == "self"]
    ids = [element.findtext(f"{A}id") for element in (feed, *feed.findall(f"{A}entry"))]
    assert len(ids) == len(set(ids))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE), max_size=4))
def test_any_text_gives_a_feed_with_the_same_elements(texts: list[tuple[str, str, str]]) -> None:
    rows = [
        replace(ROW, version=f"0.1.{n}", reason=reason, yanked=yanked, summary={test: {"mean": 1.0, "unit": test}})
        for n, (reason, yanked, test) in enumerate(texts)
    ]
    written = atom("toy", "k" * 64, [Entry(row, START_MS) for row in rows])
    feed = ElementTree.fromstring(written)
    required(feed)
    plain = ElementTree.fromstring(
        atom("toy", "k" * 64, [Entry(replace(row, reason="x", yanked="x"), START_MS) for row in rows])
    )
    assert [element.tag for element in feed.iter()] == [element.tag for element in plain.iter()]
    assert len(written) < 20_000 + 10_000 * len(rows)


def test_an_entry_tells_the_release_and_its_verdict() -> None:
    feed = ElementTree.fromstring(atom("toy", "k" * 64, [Entry(ROW, START_MS)], "https://toy.example/"))
    required(feed)
    (entry,) = feed.findall(f"{A}entry")
    assert entry.findtext(f"{A}title") == "toy 0.1.1"
    assert entry.findtext(f"{A}summary") == (
        "all 5 supported tests are non-inferior\nloss-text: -0.260 (-0.284 to -0.236) bits per byte, passed"
    )
    link = entry.find(f"{A}link")
    assert link is not None
    assert link.get("href") == "https://toy.example/releases/0.1.1"
    assert feed.findtext(f"{A}updated") == "2023-11-14T22:13:20Z"


def test_ids_stay_wherever_the_run_is_served() -> None:
    one, other = (atom("toy", "k" * 64, [Entry(ROW, START_MS)], url) for url in ("", "https://toy.example"))
    ids = [[element.text for element in ElementTree.fromstring(text).iter(f"{A}id")] for text in (one, other)]
    assert ids[0] == ids[1]
    assert atom("toy", "j" * 64, [Entry(ROW, START_MS)]) != one


def test_a_feed_without_releases_is_one() -> None:
    required(ElementTree.fromstring(atom("toy", "k" * 64, [])))


@pytest.mark.parametrize("count", [1, ENTRIES_MAX + 5])
def test_the_gateway_serves_the_newest_and_says_when_they_changed(tmp_path: Path, count: int) -> None:
    with doorstep(tmp_path / "run") as door:
        for number in range(1, count + 1):
            door.now_ms += 1000
            tagged = ReleaseTagged(
                f"0.1.{number}", "0.1.0", BASE, BASE, 0, "patch", "ok", None, None, None, door.now_ms
            )
            door.record(tagged)
        door.now_ms += 60_000
        door.record(ReleaseYanked("0.1.1", "<b>broken</b>"), ReleasePromoted(f"0.1.{count}"))
        answer = door.call("GET", "/releases.atom")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
        feed = ElementTree.fromstring(answer.body)
        required(feed)
        titles = [entry.findtext(f"{A}title") or "" for entry in feed.findall(f"{A}entry")]
        assert len(titles) == min(count + 1, ENTRIES_MAX)
        assert titles[0].startswith(f"toy 0.1.{count} (")
        first = feed.find(f"{A}entry")
        assert first is not None
        assert first.findtext(f"{A}updated", "") > first.findtext(f"{A}published", "")
        assert entries_of(door.ledger)[0].updated_at_ms == door.now_ms
        again = door.call("GET", "/releases.atom", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
