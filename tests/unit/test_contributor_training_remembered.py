"""What a unit found out is there for the next one, and worth nothing more than that."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from contributor.training.busy import Busy
from contributor.training.remembered import KINDS_MAX, Finding, Remembered


def test_findings_survive_the_process_and_add_up(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    Remembered(path).note("a", micro_batch=4)
    Remembered(path).note("a", compile=True)
    Remembered(path).note("b", micro_batch=2)
    again = Remembered(path)
    assert (again.of("a"), again.of("b"), again.of("c")) == (Finding(4, True), Finding(2), Finding())


def test_the_file_stays_small_and_forgets_the_oldest(tmp_path: Path) -> None:
    remembered = Remembered(tmp_path / "machine.json")
    for number in range(KINDS_MAX + 5):
        remembered.note(str(number), micro_batch=1)
    again = Remembered(tmp_path / "machine.json")
    assert again.of("0") == Finding()
    assert again.of(str(KINDS_MAX + 4)) == Finding(1)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[]",
        b"{}",
        b'{"kinds": 1}',
        b'{"kinds": {"a": {}}}',
        b'{"kinds": {"a": {"micro_batch": -1, "compile": null}}}',
        b'{"kinds": {"a": {"micro_batch": "4", "compile": null}}}',
        b'{"kinds": {"a": {"micro_batch": 4, "compile": "yes"}}}',
        b"\xff",
    ],
)
def test_a_damaged_file_says_nothing(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "machine.json"
    path.write_bytes(damage)
    assert Remembered(path).of("a") == Finding()


def test_how_busy_processors_were_is_a_share_of_all_cores() -> None:
    now = [0.0]
    busy = Busy(torch.device("cpu"), lambda: now[0])
    assert busy.share() is None
    now[0] = 1e9
    busy.sample()
    share = busy.share()
    assert share is not None
    assert 0 <= share < 0.01
    assert Busy(torch.device("meta")).share() is None
