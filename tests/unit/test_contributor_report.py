"""A crash leaves a report that tells what happened and nothing that must stay secret; and one sentence names it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from barnraise.errors import BlobMissingError, NodeCrashedError, RefusedError
from contributor.events import NodeEvent, Notice, Step, Stopped
from contributor.folder import NodeFolder
from contributor.interrupt import Interrupt
from contributor.live import Life, live
from contributor.report import REPORTS_KEPT, Crash, Flight, crash
from contributor.status import read_status

NOW = 1_700_000_000_000


def failing(secret: str) -> None:
    assert secret
    raise ZeroDivisionError("a loss was divided by nothing")


def crashed(folder: Path, flight: Flight | None = None, at_ms: int = NOW) -> Crash:
    try:
        failing("a private key")
    except ZeroDivisionError as error:
        return crash(error, folder, flight or Flight(), at_ms)
    raise AssertionError


def test_the_report_has_what_mends_a_fault_and_no_value_of_a_variable(tmp_path: Path) -> None:
    flight = Flight()
    flight.note(Step(7, 20, 3.25), NOW - 1000)
    error = crashed(tmp_path / "reports", flight).error()
    (path,) = (tmp_path / "reports").glob("crash-*.txt")
    text = path.read_text()
    for words in (
        "ZeroDivisionError: a loss was divided by nothing",
        "in failing",
        "step 7/20",
        "barnraise",
        "torch 2",
    ):
        assert words in text
    assert "a private key" not in text.replace('failing("a private key")', "")
    assert str(Path.home()) not in text
    assert str(path) in error.reason
    assert error.reason.isprintable()
    assert error.exit_code == 16


def test_a_disk_that_takes_no_report_does_not_hide_the_fault(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("in the way")
    assert "could not be written" in crashed(tmp_path / "reports").error().reason


def test_the_line_of_a_node_that_goes_on_names_the_report_first(tmp_path: Path) -> None:
    line = crashed(tmp_path / "reports").line()
    (path,) = (tmp_path / "reports").glob("crash-*.txt")
    assert line.startswith(f"the report is {path}, send it")
    assert line.endswith(": ZeroDivisionError: a loss was divided by nothing")


def test_the_same_fault_has_the_same_place_whatever_it_says(tmp_path: Path) -> None:
    """What raised may be another's code, which many ways lead to: the place is the last line of ours."""

    def place(digest: str) -> str:
        try:
            NodeFolder(tmp_path).vector(digest, 1)
        except BlobMissingError as error:
            return crash(error, tmp_path / "reports", Flight(), NOW).place
        raise AssertionError

    missing, too_long = f"b3:{'0' * 64}", f"b3:{'1' * 64}"
    assert place(missing) == place(too_long)
    assert place(missing).startswith("BlobMissingError in barnraise.releases.store:")
    assert "test_contributor_report:" in crashed(tmp_path).place


def test_old_reports_go(tmp_path: Path) -> None:
    for i in range(REPORTS_KEPT + 5):
        crashed(tmp_path / "reports", at_ms=NOW + 1000 * i)
    assert len(list((tmp_path / "reports").iterdir())) == REPORTS_KEPT


# -- around a node, with no socket --------------------------------------------------------------------


@pytest.fixture(name="life")
def _life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    from contextlib import nullcontext

    monkeypatch.setattr("contributor.live.listening", lambda *_arguments: nullcontext())
    told: list[NodeEvent] = []
    return Life(NodeFolder(tmp_path), Interrupt(lambda _s: None), told.append, lambda: NOW)


def test_what_nobody_foresaw_ends_with_a_report_and_the_last_status(life: Life) -> None:
    with pytest.raises(NodeCrashedError, match=r"KeyError: 'gone'.*the report is .*join again"):
        _node_that_fails(life)
    status = read_status(life.folder.status)
    assert status is not None
    assert status.doing == "crashed"
    (path,) = life.folder.reports.iterdir()
    assert "something came before" in path.read_text()


def _node_that_fails(life: Life) -> None:
    with live(life) as report:
        report(Notice("something came before"))
        raise KeyError("gone")


@pytest.mark.parametrize("error", [RefusedError("the coordinator says no"), BrokenPipeError(32, "the reader has gone")])
def test_what_has_a_reason_of_its_own_needs_no_report(life: Life, error: Exception) -> None:
    with pytest.raises(type(error)), live(life):
        raise error
    assert not life.folder.reports.exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BrokenPipeError(32, "Broken pipe"), "nobody reads its output any more"),
        (KeyboardInterrupt(), "Ctrl-C was pressed until it left at once"),
    ],
)
def test_an_end_without_a_reason_in_words_has_them_for_whoever_asks_later(
    life: Life, error: BaseException, words: str
) -> None:
    with pytest.raises(type(error)), live(life):
        raise error
    status = read_status(life.folder.status)
    assert status is not None
    assert status.doing == "stopped"
    assert status.why.startswith(words)


def test_a_node_that_gave_up_has_crashed_and_its_report_is_not_written_twice(life: Life) -> None:
    with pytest.raises(NodeCrashedError, match="enough"), live(life):
        raise NodeCrashedError("enough")
    status = read_status(life.folder.status)
    assert status is not None
    assert (status.doing, status.why) == ("crashed", "enough")
    assert not life.folder.reports.exists()


def test_a_person_at_the_keyboard_is_no_fault(life: Life) -> None:
    with pytest.raises(KeyboardInterrupt), live(life):
        raise KeyboardInterrupt
    assert not life.folder.reports.exists()


def test_a_calm_end_is_kept_for_whoever_asks_later(life: Life) -> None:
    with live(life) as report:
        report(Stopped(2, "2 of 2 units done"))
    status = read_status(life.folder.status)
    assert status is not None
    assert (status.doing, status.why) == ("stopped", "2 of 2 units done")


def test_a_terminal_that_was_closed_is_no_fault(life: Life) -> None:
    def gone(_event: NodeEvent) -> None:
        raise OSError(5, "Input/output error")

    with live(replace(life, report=gone)) as report:
        report(Stopped(0, "asked to stop"))
    assert not life.folder.reports.exists()
