"""What an action makes of a task that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnraise.errors import AcceptanceError, BarnraiseError, DiskFullError, MergeError
from coordinator.conductor import actions
from coordinator.conductor.actions import Finished
from coordinator.conductor.desk import Desk
from coordinator.ledger.events import UpdateUnmerged
from coordinator.round import Round
from coordinator.round_events import (
    CheckFailed,
)
from simulator import tiny_config

CONFIG = tiny_config()
OPEN = Round(number=1, base_version="0.1.0", base_digest="b3:base")


def ended(error: BarnraiseError) -> Finished:
    work = actions.check(Desk(Path("nowhere"), CONFIG, ""), OPEN, "b3:update", "text")
    (task,) = next(work)
    assert task.timeout_s == CONFIG.conductor.check_timeout_s
    with pytest.raises(StopIteration) as stopped:
        work.throw(error)
    finished = stopped.value.value
    assert isinstance(finished, Finished)
    return finished


@pytest.mark.parametrize("error", [AcceptanceError("took longer than 120 s"), MergeError("lost its worker")])
def test_a_check_that_does_not_end_blames_nobody(error: BarnraiseError) -> None:
    finished = ended(error)
    assert finished.outcome == CheckFailed("b3:update")
    assert finished.events == (UpdateUnmerged("b3:update", 1, f"its check did not end: {error}", code="unchecked"),)


def test_a_full_disk_is_nobody_s_update(tmp_path: Path) -> None:
    work = actions.check(Desk(tmp_path, CONFIG, ""), OPEN, "b3:update", "text")
    next(work)
    with pytest.raises(DiskFullError):
        work.throw(DiskFullError("no space left"))
