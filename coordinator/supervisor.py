"""``barnraise serve``: one gateway and one conductor, started, watched, and started again when they die.

The gateway talks to strangers and the conductor to Ray; neither may take the other down. A
process that crashes is started again after a growing pause; one that refuses to start
(configuration, port, ledger) ends the whole with its reason. Beside them there may be some without
which a run goes on: one that tells others what happens, one that keeps a beacon in the swarm.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import IO

from barnraise.errors import BarnraiseError, StorageError
from barnraise.process import stop_group
from barnraise.run_folder import RunFolder
from coordinator.conductor.cluster import ray_token, stop_leftovers

__all__ = ["Crashes", "Verdict", "check_mergeable", "supervise"]

ROLES = ("gateway", "conductor")
WITHOUT = {
    "notify": "nobody is told of events until the next start",
    "beacon": "no beacon is kept in the swarm until the next start",
}
"""Roles that a run goes on without, each with what is then missing."""
REFUSALS = frozenset({2, 3, 7, 8, 9, 11})  # exit codes after which trying again cannot help
WINDOW_S = 120.0
MAX_CRASHES = 5
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a role whose process ended: start again after ``wait_s``, or give up."""

    give_up: bool
    wait_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Crashes:
    """When a role's process crashed, newest last. :meth:`after` decides; it takes the clock as an argument."""

    role: str
    at_s: tuple[float, ...] = ()

    def after(self, exit_code: int, now_s: float) -> tuple[Crashes, Verdict]:
        """The record with this crash, and what follows from it."""
        recent = (*(at for at in self.at_s if now_s - at < WINDOW_S), now_s)
        history = Crashes(self.role, recent)
        how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        if exit_code in REFUSALS:
            return history, Verdict(True, 0.0, f"the {self.role} cannot start")
        if len(recent) > MAX_CRASHES:
            return history, Verdict(True, 0.0, f"the {self.role} {how}, {len(recent)} crashes in {WINDOW_S:.0f} s")
        wait_s = 0.2 * 2 ** (len(recent) - 1)
        return history, Verdict(False, wait_s, f"the {self.role} {how}; starting it again in {wait_s:.1f} s")


@dataclass
class _Child:
    role: str
    folder: RunFolder
    crashes: Crashes
    process: subprocess.Popen[bytes] | None = None
    start_at_s: float = 0.0
    log: IO[bytes] | None = field(default=None, repr=False)

    @property
    def log_path(self) -> Path:
        return self.folder.logs / f"{self.role}.log"

    def start(self) -> None:
        self.close_log()
        self.log = self.log_path.open("ab")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                f"coordinator.{self.role}",
                "--run",
                str(self.folder.root),
                "--parent",
                str(os.getpid()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            process_group=0,  # Ctrl-C reaches the supervisor only, and a group can be ended whole
        )

    def stop(self) -> None:
        if self.process is not None:
            stop_group(self.process)
            self.process = None
        self.close_log()

    def close_log(self) -> None:
        if self.log is not None:
            self.log.close()
            self.log = None

    def last_words(self) -> str:
        lines = self.log_path.read_text(errors="replace").strip().splitlines()
        return lines[-1][:500] if lines else "it wrote nothing into its log; is the disk full?"


def check_mergeable(config: Path) -> None:
    """Refuse a configuration whose rounds could not be merged; asked of a process that ends, for it needs torch.

    Raises:
        ConfigError, MergeError: what is wrong with it.
        StorageError: the process ended otherwise.
    """
    command = [sys.executable, "-m", "coordinator.conductor", "--check", str(config), "--parent", str(os.getpid())]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        words = lines[-1][:1000] if lines else f"checking {config} ended with exit code {done.returncode}"
        raise _of_family(done.returncode)(words.removeprefix("barnraise: "))


def supervise(
    folder: RunFolder,
    stop: Event,
    report: Callable[[str], None],
    every_tick: Callable[[], None],
    *,
    beside: Sequence[str] = (),
) -> None:
    """Keep the processes of a run alive until ``stop`` is set; the caller holds the folder's lock.

    Args:
        report: gets one sentence for each start, crash and stop.
        every_tick: called about ten times a second, to show what is new in the ledger.
        beside: roles of ``WITHOUT`` that are wanted.

    Raises:
        StorageError: a process cannot be kept running; names its log.
    """
    children = [_Child(role, folder, Crashes(role)) for role in (*ROLES, *beside)]
    folder.address.unlink(missing_ok=True)
    try:
        for child in children:
            child.start()
        while not stop.wait(POLL_S):
            for child in children:
                _tend(child, report)
            every_tick()
    finally:
        report("stopping")
        for child in reversed(children):
            child.stop()
        stop_leftovers(ray_token(folder))
        folder.address.unlink(missing_ok=True)


def _tend(child: _Child, report: Callable[[str], None]) -> None:
    now_s = time.monotonic()
    if child.process is None:
        if now_s >= child.start_at_s:
            child.start()
        return
    exit_code = child.process.poll()
    if exit_code is None:
        return
    stop_group(child.process)  # what it left behind, such as Ray's processes
    child.crashes, verdict = child.crashes.after(exit_code, now_s)
    child.process, child.start_at_s = None, now_s + verdict.wait_s
    report(verdict.reason)
    if not verdict.give_up:
        return
    error = _translated(child, verdict, exit_code)
    if child.role not in WITHOUT:
        raise error
    report(f"{WITHOUT[child.role]}: {error}")
    child.start_at_s = math.inf


def _translated(child: _Child, verdict: Verdict, exit_code: int) -> BarnraiseError:
    words = child.last_words().removeprefix("barnraise: ")
    return _of_family(exit_code)(f"{words} ({verdict.reason}; log: {child.log_path})")


def _of_family(exit_code: int) -> type[BarnraiseError]:
    return next((kind for kind in BarnraiseError.__subclasses__() if kind.exit_code == exit_code), StorageError)
