"""Contributors as they are told: ranked by what their updates improve, never by how many there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import digest_bytes
from barnraise.errors import NotFoundError
from barnraise.records import ContributorLine, ContributorLines, ContributorRecord
from coordinator.contributors import contributor_lines, contributor_record, credited, rounding_step
from coordinator.ledger import ContributionRow, Ledger
from coordinator.ledger.events import (
    ContributorSeen,
    LeaseGranted,
    RoundMerged,
    RoundOpened,
    RunCreated,
    UpdateChecked,
    UpdateReceived,
    UpdateRejected,
)
from coordinator.ledger.key_events import KeyReplaced
from coordinator.ledger.order_events import ContributorBanned
from doorstep import doorstep
from fresh_ledger import fresh_ledger

BASE = digest_bytes(b"base")


def key(name: str) -> str:
    return digest_bytes(name.encode())[3:]


class Story:
    """A ledger that is told of rounds in which named contributors improve the trunk by so much."""

    def __init__(self, path: Path) -> None:
        self.ledger: Ledger = fresh_ledger(path)
        self._at_ms = count(1_000)
        self.record(RunCreated("toy", BASE, {}, "0" * 64))

    def record(self, *events: Any) -> None:
        self.ledger.record(*events, at_ms=next(self._at_ms))

    def round(self, number: int, values: dict[str, float], error: float = 0.01) -> None:
        self.record(RoundOpened(number, "0.1.0", BASE))
        for name, value in values.items():
            self.update(number, name, value, error)

    def update(self, number: int, name: str, value: float | None, error: float = 0.01) -> str:
        digest, lease = digest_bytes(f"{name}{number}".encode()), digest_bytes(f"lease{name}{number}".encode())[3:35]
        who = key(name)
        self.record(
            ContributorSeen(who, name),
            LeaseGranted(lease, who, number, "0.1.0", BASE, "text", lease, 1, 2),
            UpdateReceived(digest, who, lease, number, BASE, 50, 1_000, 8, {}),
        )
        score = {} if value is None else {"score": {"value": value, "error": error}, "worth": "alone it changes a bit"}
        self.record(UpdateChecked(digest, number, [], "passed", score))
        return digest

    def places(self) -> dict[str, int | None]:
        return {line.name: line.place for line in contributor_lines(self.ledger).contributors}


@pytest.fixture(name="story")
def _story(tmp_path: Path) -> Iterator[Story]:
    told = Story(tmp_path / "ledger.sqlite")
    yield told
    told.ledger.close()


def test_one_who_improves_more_is_before_one_who_sends_more(story: Story) -> None:
    for number in range(1, 9):
        values = {"busy": 0.01, "middling": 0.05}
        story.round(number, values | ({"good": 0.2} if number % 2 else {}))
    assert story.places() == {"good": 1, "middling": 2, "busy": 3}
    lines = {line.name: line for line in contributor_lines(story.ledger).contributors}
    assert lines["busy"].scored == 8
    assert lines["good"].scored == 4
    assert lines["busy"].updates == {"checked": 8}


def test_those_who_cannot_be_told_apart_share_a_place(story: Story) -> None:
    for number in range(1, 4):
        story.round(number, {"ada": 0.100, "bob": 0.101, "eve": 0.099}, error=0.05)
    assert set(story.places().values()) == {1}
    assert "shared with 2 who cannot be told apart" in contributor_record(story.ledger, key("ada")).why


def test_a_contributor_is_found_by_any_key_that_it_has_had(story: Story) -> None:
    story.round(1, {"ada": 0.1, "bob": 0.2})
    first, second, third = key("ada"), "5" * 64, "6" * 64
    story.record(KeyReplaced(first, first, second, "rotated", "both have signed", {}))
    story.record(KeyReplaced(first, second, third, "recovered", "nobody objected", {}))
    records = [contributor_record(story.ledger, name) for name in (first, second[:8], third)]
    assert {(record.line.name, record.updates_total) for record in records} == {("ada", 1)}
    assert records[0].keys == (first, second, third)
    assert contributor_record(story.ledger, key("bob")).keys == (key("bob"),)
    assert len(story.places()) == 2


def test_nobody_has_a_place_before_anything_can_be_compared(story: Story) -> None:
    assert contributor_lines(story.ledger).contributors == ()
    story.round(1, {"ada": 0.1})
    line = contributor_lines(story.ledger).contributors[0]
    assert (line.place, line.value, line.scored) == (None, None, 0)
    assert "no place yet" in contributor_record(story.ledger, key("ada")).why


def test_a_rejected_or_recognised_update_earns_nothing(story: Story) -> None:
    for number in range(1, 5):
        story.round(number, {"ada": 0.1, "bob": 0.1, "eve": 0.1, "mallory": 0.3})
        rejected = digest_bytes(f"mallory{number}".encode())
        story.record(UpdateRejected(rejected, number, "culprit-search", "fails with it"))
        copy = digest_bytes(f"eve{number}".encode())
        record = {"updates": [], "recognised": {copy: {"label": "copy", "reason": "half of its energy"}}}
        story.record(RoundMerged(number, "merged", record))
    places = story.places()
    assert places["ada"] == places["bob"] == 1
    assert places["eve"] == places["mallory"] == 3


def test_what_goes_out_has_no_exact_score(story: Story) -> None:
    for number in range(1, 4):
        story.round(number, {"ada": 0.123456789, "bob": 0.05, "eve": 0.0377})
    lines = contributor_lines(story.ledger)
    for line in lines.contributors:
        assert line.value is not None
        assert abs(line.value / lines.step - round(line.value / lines.step)) < 1e-6
    told = json.dumps([lines.model_dump(), contributor_record(story.ledger, key("ada")).model_dump()], default=str)
    assert "0.1234" not in told
    assert "score" not in contributor_record(story.ledger, key("ada")).updates[0].model_dump()


def test_a_record_has_the_newest_updates_first_and_says_when_the_key_is_banned(story: Story) -> None:
    for number in range(1, 4):
        story.round(number, {"ada": 0.1, "bob": 0.05})
    story.record(ContributorBanned(key("ada"), 0, "it sends noise"))
    found = contributor_record(story.ledger, key("ada")[:8])
    assert [update.round for update in found.updates] == [3, 2, 1]
    assert found.updates_total == 3
    assert found.line.banned == "it sends noise"
    assert found.updates[0].worth == "alone it changes a bit"


@pytest.mark.parametrize("name", ["", "xyz", "abc", "../..", "0" * 64, "g" * 64, "A" * 64])
def test_a_name_that_is_no_key_is_refused_in_words(story: Story, name: str) -> None:
    with pytest.raises(NotFoundError, match="key"):
        contributor_record(story.ledger, name)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), max_size=9))
def test_a_step_is_1_2_or_5_and_not_below_the_typical_error(errors: list[float]) -> None:
    step = rounding_step(errors)
    digits = f"{step:e}".split("e")[0].rstrip("0").rstrip(".")
    assert digits in {"1", "2", "5"}
    if errors:
        typical = sorted(errors)[(len(errors) - 1) // 2]
        assert step * (1 + 1e-6) >= typical


def test_an_update_from_before_scores_counts_for_nobody() -> None:
    row = ContributionRow(BASE, "0" * 64, 1, 1, 1, 1, "merged", "", None, {}, 1)
    assert credited([row], frozenset()) == []


def test_the_gateway_tells_of_contributors(tmp_path: Path) -> None:
    with doorstep(tmp_path / "run") as door:
        lease = door.leased()
        lines = ContributorLines.read(door.call("GET", "/v1/contributors").value)
        assert [line.name for line in lines.contributors] == ["Ada"]
        assert ContributorLine.read(door.call("GET", "/v1/contributors?limit=1").value["contributors"][0])
        record = ContributorRecord.read(door.call("GET", f"/v1/contributors/{lease['contributor'][:12]}").value)
        assert record.line == lines.contributors[0]
        assert door.call("GET", "/v1/contributors/nobody").code == "not-found"
        assert door.call("GET", "/v1/contributors?limit=9999").status == 400
