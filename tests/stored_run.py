"""A small run with two releases and all that a coordinator leaves in its folder, made once and copied for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

from barnraise.clock import now_ms
from barnraise.run_folder import RunFolder
from simulator import Simulation

__all__ = ["command_killed_after", "contribute", "copied_run", "killed_after"]

CONTRIBUTORS = (("ada", "text"), ("barbara", "tools"), ("grace", "text"))


def contribute(simulation: Simulation) -> None:
    """Three updates to the newest release."""
    for name, shard in CONTRIBUTORS:
        simulation.contributor(name, shard).delivers()


@cache
def _made() -> Path:
    root = Path(os.environ["BARNRAISE_TESTS_SHARED"]) / "stored-run"  # conftest.py says where
    root.mkdir()
    simulation = Simulation(root / "run", now_ms=now_ms())  # python-tuf's client knows what time it is
    contribute(simulation)
    simulation.runs_until_tagged("0.1.1")
    simulation.ticks()
    simulation.ledger.close()
    return root / "run"


def copied_run(root: Path) -> RunFolder:
    """The run, in a folder of the test's own; nobody works in it."""
    shutil.copytree(_made(), root)
    return RunFolder(root)


_STRICKEN = """
import os, sys
left, sync = int(sys.argv[1]), os.fsync
def counted(descriptor):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
    sync(descriptor)
os.fsync = counted
from barnraise.cli import run
sys.exit(run(sys.argv[2:]))
"""


def command_killed_after(syncs: int, *argv: str | Path) -> bool:
    """As :func:`killed_after`, of a command that uses threads: in a process that is new."""
    words = [sys.executable, "-c", _STRICKEN, str(syncs), *map(str, argv)]
    environment = {**os.environ, "TMPDIR": os.environ["BARNRAISE_TESTS_SHARED"]}  # what is killed cleans nothing up
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode in (0, 9), done.stderr
    return done.returncode == 9


def killed_after(syncs: int, work: Callable[[], object]) -> bool:
    """Do ``work`` in a process that ends on the spot at a certain wait for the disk; whether it came that far.

    The process is a fork of this one, so ``work`` must not count on other threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn when there are other threads
        child = os.fork()
    if child == 0:
        left = syncs
        sync = os.fsync

        def counted(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)
            sync(descriptor)

        os.fsync = counted
        tempfile.tempdir = os.environ["BARNRAISE_TESTS_SHARED"]  # what is killed cleans nothing up
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9
