"""A run of real processes for end-to-end tests: started in groups of their own, listened to, always ended.

    with Site(tmp_path) as site:
        site.serves()
        ada = site.joins("ada")
        until(lambda: len(site.releases()) > 1, "a release")

Everything is below one folder. Every process inherits a mark that names this folder; at the
end whoever carries it is killed, also what a killed process has left behind, and nobody else.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from barnraise.errors import NoSuchVersionError
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import read_index
from barnraise.run_folder import RunFolder
from coordinator.conductor.cluster import ray_folders, ray_token, stop_leftovers
from coordinator.ledger import Ledger

__all__ = ["TINY", "Answer", "Program", "Site", "until"]

T = TypeVar("T")

MARK = "BARNRAISE_TEST_SITE"
PATIENCE_S = 270.0  # what never comes is told by name, just before the time of a test is over
POLL_S = 0.02

TINY = """
name = "tiny"
model = { dim = 16, layers = 1, heads = 2, hidden = 32, context = 32 }
training = { steps = 30, batch = 8, learning_rate = 1e-2 }
update = { codec = { name = "blockwise", bits = 8 } }
release = { codec = { name = "blockwise", bits = 8 } }
round = { target_updates = 3, min_updates = 3, collect_for_s = 60, lease_for_s = 60 }
conductor = { poll_every_s = 0.05 }

[data]
held_out_percent = 30
shards = { text = ["json", "csv", "string", "textwrap"], tools = ["ast", "dis", "inspect", "tokenize"] }

[acceptance]
check_examples = 16
check_margin = 0.5
tests = [
    { name = "loss-text", kind = "loss", shard = "text", examples = 24, margin = 0.5 },
    { name = "loss-tools", kind = "loss", shard = "tools", examples = 24, margin = 0.5 },
]
"""
"""A run whose units take a second, on the standard library's own text; ``tests/simulator.py`` has the same model."""


def until(condition: Callable[[], T], what: str, within_s: float = PATIENCE_S) -> T:
    """The first true value of ``condition``; looking takes a fifth of a core at most from those who are waited for."""
    deadline_s = time.monotonic() + within_s
    while True:
        begun_s = time.monotonic()
        if value := condition():
            return value
        looked_s = time.monotonic()
        assert looked_s < deadline_s, f"waited {within_s:.0f} s for {what}"
        time.sleep(max(POLL_S, 4 * (looked_s - begun_s)))


@dataclass(frozen=True)
class Answer:
    """What a command that ended has said."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """Of a successful command with ``--json``."""
        envelope = json.loads(self.out)
        assert (self.code, envelope["ok"]) == (0, True), self
        return dict(envelope["result"])

    @property
    def error(self) -> dict[str, str]:
        """``code`` and ``reason`` of a command with ``--json`` that failed."""
        envelope = json.loads(self.out.splitlines()[-1])
        assert envelope["ok"] is False, self
        return dict(envelope["error"])


class Program:
    """A process in a group of its own; what it prints is in a file."""

    def __init__(self, arguments: list[str], log: Path, env: dict[str, str]) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                env=env,
            )

    def said(self, kind: str) -> list[dict[str, Any]]:
        """JSON lines so far whose ``event`` or ``kind`` is this one, also those of an earlier process on this log."""
        lines = self.log.read_text().splitlines(keepends=True)
        values = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        return [value for value in values if value.get("event", value.get("kind")) == kind]

    def says(self, kind: str, times: int = 1) -> dict[str, Any]:
        """Wait until it has said this so many times; the newest."""
        until(lambda: len(self.said(kind)) >= times or self.ended, f"{self.log.name} to say {kind}")
        said = self.said(kind)
        assert len(said) >= times, self.log.read_text()[-2000:]
        return said[-1]

    def notes(self, words: str) -> None:
        """Wait until a notice of it has these words."""
        until(lambda: self._has_noted(words) or self.ended, f"{self.log.name} to say that {words}")
        assert self._has_noted(words), self.log.read_text()[-2000:]

    def _has_noted(self, words: str) -> bool:
        return any(words in notice["text"] for notice in self.said("notice"))

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def interrupt(self) -> None:
        """One Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ends(self) -> int:
        """Wait for its end; the exit code."""
        until(lambda: self.ended, f"the end of {self.log.name}")
        return self.process.returncode


class Site:
    """One coordinator and whoever works for it.

    Attributes:
        serving: the coordinator that was started last.
    """

    serving: Program | None = None

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = RunFolder(root / "run")
        home = root / "home"
        home.mkdir()
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "BARNRAISE_", "RAY_"))}
        # TMPDIR stays what it is: Ray's sockets lie there, and their paths must be short
        self._env = {**kept, "HOME": str(home), MARK: str(root), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        self._programs: list[Program] = []

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._programs:
            program.process.kill()
            program.process.wait()
        until(lambda: not self._killed(), "the end of what was started", 20.0)
        stop_leftovers(ray_token(self.folder))

    def _killed(self) -> int:
        """Kill whoever carries our mark, and its children: the titles of Ray's agents have overwritten it there."""
        found = self.processes()
        parents = {process.pid for process in found}
        found += [one for one in psutil.process_iter(["ppid"]) if one.info["ppid"] in parents and one not in found]
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return len(found)

    # -- starting -------------------------------------------------------------------------

    def write_config(self, text: str = TINY) -> Path:
        path = self.root / "run.toml"
        path.write_text(text)
        return path

    def starts(self, name: str, *arguments: str) -> Program:
        """``barnraise ARGUMENTS``, in the background; a second start goes on in the same log."""
        return self.starts_module(name, "barnraise", *arguments)

    def starts_module(self, name: str, module: str, *arguments: str) -> Program:
        """``python -m MODULE ARGUMENTS``, in the background."""
        program = Program(["-m", module, *arguments], self.root / f"{name}.log", self._env)
        self._programs.append(program)
        return program

    def serves(self, config: Path | None = None) -> Program:
        """A coordinator that takes connections: of a new run, or of the one that is there."""
        what = str(config) if config else str(self.folder.root)
        self.serving = program = self.starts("serve", "serve", what, "--run", str(self.folder.root), "--json")
        until(lambda: self.folder.address.exists() or program.ended, "an address")
        assert not program.ended, program.log.read_text()
        return program

    def listens(self) -> Program:
        """The gateway of a run that is there, without a conductor: nothing is merged, and no Ray is started."""
        self.folder.address.unlink(missing_ok=True)
        program = self.starts_module("gateway", "coordinator.gateway", "--run", str(self.folder.root))
        until(lambda: self.folder.address.exists() or program.ended, "an address")
        assert not program.ended, program.log.read_text()
        return program

    def joins(self, name: str, *options: str) -> Program:
        """A contributor of this name, with its own key and state."""
        home = self.root / name
        arguments = ["--name", name, "--home", str(home), "--key", str(home / "key"), "--threads", "1"]
        arguments += ["--json", "--yes"]
        return self.starts(name, "join", self.url, *arguments, *options)

    def runs(self, *arguments: str) -> Answer:
        """``barnraise ARGUMENTS`` to its end."""
        command = [sys.executable, "-m", "barnraise", *arguments]
        done = subprocess.run(
            command, cwd=self.root, env=self._env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    # -- looking --------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is started otherwise: with the mark by which it is ended, whatever becomes of it."""
        return dict(self._env)

    @property
    def url(self) -> str:
        """Where the gateway listens; waits until it does."""
        return until(self.folder.listening, "an address") or ""

    def releases(self) -> list[str]:
        """Versions in the published index, oldest first."""
        if not self.folder.config.exists():
            return []
        with suppress(NoSuchVersionError):
            return [entry.version for entry in read_index(FolderSource(self.folder.root)).index.releases]
        return []

    def processes(self) -> list[psutil.Process]:
        """Every process that was started from here, directly or not, and still runs."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == str(self.root) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def find(self, command_line: str) -> psutil.Process:
        """A running process of ours with this pattern in its command line; waits for one."""

        def found() -> psutil.Process | None:
            for process in self.processes():
                with suppress(psutil.Error):
                    if re.search(command_line, " ".join(process.cmdline())):
                        return process
            return None

        process = until(found, f"a process {command_line}")
        assert process is not None
        return process

    @contextmanager
    def opens_ledger(self) -> Iterator[Ledger]:
        ledger = Ledger.open(self.folder.ledger)
        try:
            yield ledger
        finally:
            ledger.close()

    def left_behind(self) -> list[str]:
        """What should be gone once a coordinator has stopped: its processes, and Ray's folders."""
        named = [" ".join(process.cmdline()) for process in self.processes()]
        return named + [str(folder) for folder in ray_folders(ray_token(self.folder))]
