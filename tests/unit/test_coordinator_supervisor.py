"""What becomes of a run when one of its processes cannot be kept alive."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from barnraise.errors import ConfigError
from barnraise.run_folder import RunFolder
from coordinator import supervisor
from coordinator.supervisor import ROLES, WITHOUT, Crashes

LAST_WORDS = "barnraise: notify target ops: the environment has no HOOK\n"


class Ended:
    """A process that refused to start."""

    def poll(self) -> int:
        return ConfigError.exit_code


def child(role: str, folder: RunFolder) -> Any:
    made = supervisor._Child(role, folder, Crashes(role))
    made.log_path.write_text(LAST_WORDS)
    made.process = Ended()  # type: ignore[assignment]
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setattr(supervisor, "stop_group", lambda _process: ConfigError.exit_code)
    made = RunFolder(tmp_path / "run")
    made.create()
    return made


@pytest.mark.parametrize(("role", "missing"), WITHOUT.items())
def test_a_run_goes_on_without_what_it_can_do_without(folder: RunFolder, role: str, missing: str) -> None:
    said: list[str] = []
    made = child(role, folder)
    supervisor._tend(made, said.append)
    assert (made.process, made.start_at_s) == (None, math.inf)
    assert said[-1].startswith(f"{missing}: notify target ops: the environment has")
    supervisor._tend(made, said.append)
    assert made.process is None  # and it is not started again


@pytest.mark.parametrize("role", ROLES)
def test_a_run_ends_without_gateway_or_conductor(folder: RunFolder, role: str) -> None:
    with pytest.raises(ConfigError, match=rf"log: .*{role}\.log"):
        supervisor._tend(child(role, folder), lambda _line: None)


def test_pauses_between_crashes_grow_and_end() -> None:
    crashes, waits = Crashes("gateway"), []
    for _ in range(supervisor.MAX_CRASHES):
        crashes, verdict = crashes.after(-9, 10.0)
        waits.append(verdict.wait_s)
    assert waits == sorted(waits)
    assert crashes.after(-9, 10.0)[1].give_up
    assert not crashes.after(-9, 10.0 + supervisor.WINDOW_S)[1].give_up
