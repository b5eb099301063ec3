"""A node's history: every unit once, with its fate, whatever was torn or told twice; and no larger than it may be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import digest_bytes
from contributor import history
from contributor.events import Fate, Finished, NodeEvent, Received, Sent, Step
from contributor.history import Journal, read_history, units_of


def digest(i: int) -> str:
    return digest_bytes(str(i).encode())


def life(i: int) -> list[NodeEvent]:
    """All that is noted of a unit."""
    return [
        Finished(digest(i), i, "0.1.0", "text", 20, 1000, 2.5, 4.0, 3.5),
        Sent(digest(i), 100 + i, 4000, 4.0, 3.5),
        Received(digest(i), i),
        Fate(digest(i), "merged", "merged in 0.1.1", "0.1.1"),
    ]


def noted(path: Path, *events: NodeEvent) -> None:
    journal = Journal(path)
    for at_ms, event in enumerate(events):
        journal.note(event, at_ms)
    assert journal.failure == ""


def test_a_unit_from_training_to_its_fate(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    states = []
    for upto in range(1, 5):
        path.unlink(missing_ok=True)
        noted(path, *life(3)[:upto])
        (unit,) = read_history(path)
        states.append((unit.state, unit.bytes, unit.version))
    assert states == [("outbox", 0, None), ("outbox", 103, None), ("received", 103, None), ("merged", 103, "0.1.1")]
    assert (unit.round, unit.steps, unit.tokens, unit.loss_last, unit.seconds) == (3, 20, 1000, 3.5, 2.5)


def test_what_is_noted_twice_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    noted(path, *life(1), *life(1), *life(2))
    assert [unit.digest for unit in read_history(path)] == [digest(1), digest(2)]


def test_steps_are_not_noted(tmp_path: Path) -> None:
    noted(tmp_path / "history.jsonl", Step(1, 20, 4.0))
    assert read_history(tmp_path / "history.jsonl") == []


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 4000))
def test_a_file_torn_anywhere_loses_no_whole_line_and_none_that_follows(tmp_path_factory, cut: int) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("torn") / "history.jsonl"
    noted(path, *life(1), *life(2))
    whole = path.read_bytes()[:cut]
    path.write_bytes(whole)
    noted(path, *life(3))
    told = {unit.digest: unit.state for unit in read_history(path)}
    assert told[digest(3)] == "merged"
    assert set(told) - {digest(3)} <= {digest(1), digest(2)}
    assert (digest(1) in told) == (whole.count(b"\n") >= 1 or whole.endswith(b"}"))


def test_it_keeps_the_newest_and_never_grows_past_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "FILE_MAX_BYTES", 20_000)
    path = tmp_path / "history.jsonl"
    noted(path, *(event for i in range(100) for event in life(i)))
    assert path.stat().st_size <= 20_000
    assert read_history(path)[-1].digest == digest(99)


def test_a_full_disk_delays_the_history_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, path = Journal(tmp_path / "history.jsonl"), tmp_path / "history.jsonl"
    with monkeypatch.context() as full:
        full.setattr(history.os, "write", _no_room)
        for event in life(1)[:3]:
            journal.note(event, 1)
        assert "could not be written: No space left" in journal.failure
    journal.note(life(1)[3], 2)
    assert journal.failure == ""
    assert read_history(path)[0].state == "merged"


def _no_room(*_arguments: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("event", [{}, {"digest": "x"}, {"digest": "x", "event": "finished"}, {"event": "fate"}])
def test_lines_of_another_version_are_skipped(event: dict[str, str]) -> None:
    assert units_of([event]) == []
