"""A sidecar as its owner sees it: started, asked, and started again when it dies, whatever it dies of.

    off --start--> starting --ready--> ready
                      ^  |               |
                      |  +--- it ends ---+
                      |           v
                      +-- pause -- down          stop, from anywhere: off

Nothing here waits for a sidecar but :meth:`Sidecar.ask`, for as long as its caller says. The process leads a
group of its own, which is ended whole; a guard inside it ends the group when the owner is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from barnraise.errors import SwarmError
from barnraise.process import stop_group
from barnraise.swarm.lines import LINE_MAX_BYTES, asked_line, result_of
from barnraise.swarm.restarts import Restarts

__all__ = ["Sidecar", "SidecarState"]

LOG_MAX_BYTES = 4 << 20
PATH_MAX_BYTES = 55  # of where a sidecar's folder is made: with that and a socket's name, what man 7 unix allows
GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class SidecarState:
    """What is known of a sidecar.

    Attributes:
        doing: off, starting, ready or down.
        why: it is down, in one sentence; "" otherwise.
        facts: what the service said of itself when it was ready: addresses and the like.
        pid: of the process, while there is one.
        starts: how often it was started.
    """

    doing: str = "off"
    why: str = ""
    facts: Mapping[str, Any] | None = None
    pid: int | None = None
    starts: int = 0


class Sidecar:
    """One service in a process of its own.

    Args:
        service: one of ``barnraise.swarm.sidecar.service.SERVICES``.
        settings: JSON for it; called anew at every start, so that it may name what was learned meanwhile.
        log: file that its output goes to.
        say: gets a sentence when it dies or cannot start, once for each reason in a row. From another thread.
    """

    def __init__(
        self, service: str, settings: Callable[[], Mapping[str, Any]], log: Path, say: Callable[[str], None]
    ) -> None:
        self._service, self._settings, self._log_path, self._say = service, settings, log, say
        self._state = SidecarState()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._said = ""

    @property
    def state(self) -> SidecarState:
        with self._changed:
            return self._state

    def start(self) -> None:
        """Begin; returns at once."""
        assert self._thread is None, "started twice"
        self._thread = threading.Thread(target=self._keep, name=f"sidecar-{self._service}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the process, if there is one, and wait until it is gone with all that it started."""
        self._stopping.set()
        with self._changed:
            if self._process is not None:
                stop_group(self._process, GRACE_S)
        if self._thread is not None:
            self._thread.join()

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether it is ready, after waiting for that if need be."""
        with self._changed:
            return self._changed.wait_for(lambda: self._state.doing == "ready", timeout_s)

    def ask(self, command: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        """Have the service do something.

        Raises:
            SwarmError: it refuses, is not there, dies over it, or takes longer than ``timeout_s``.
        """
        state, folder = self.state, self._folder
        if state.doing != "ready" or folder is None:
            raise SwarmError(f"the sidecar for {self._service} is {state.doing}{': ' if state.why else ''}{state.why}")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(timeout_s)
                connection.connect(str(folder / "ask"))
                connection.sendall(asked_line(command, arguments))
                with connection.makefile("rb") as answer:
                    return result_of(answer.readline(LINE_MAX_BYTES + 1))
        except TimeoutError as error:
            raise SwarmError(f"the sidecar for {self._service} did not answer within {timeout_s:g} s") from error
        except OSError as error:
            raise SwarmError(f"the sidecar for {self._service} does not listen ({error.strerror or error})") from error

    # -- the thread that keeps it alive --------------------------------------------------------------

    def _keep(self) -> None:
        restarts = Restarts()
        while not self._stopping.is_set():
            try:
                how, served_s = self._serve_once()
            except OSError as error:
                how, served_s = f"the sidecar for {self._service} could not be started ({error})", 0.0
            if self._stopping.is_set():
                break
            restarts, restart = restarts.after(served_s, how)
            self._now(doing="down", why=restart.reason, facts=None, pid=None)
            if how != self._said:
                self._said = how
                self._say(restart.reason)
            self._stopping.wait(restart.wait_s)
        self._now(doing="off", why="", facts=None, pid=None)

    def _serve_once(self) -> tuple[str, float]:
        """Run the process once; how it ended, and for how many seconds it had been ready."""
        self._folder = folder = _short_folder()
        ready_at_s: float | None = None
        try:
            with _fresh_log(self._log_path) as log:
                process = self._launch(folder, log)
                if process is None:
                    return "asked to stop", 0.0
                with process:  # which closes its pipes
                    first = self._first_line(process)
                    if "ready" in first:
                        ready_at_s = time.monotonic()
                        self._said = ""
                        self._now(doing="ready", why="", facts=first["ready"])
                    code = process.wait()
                    stop_group(process)
                served_s = 0.0 if ready_at_s is None else time.monotonic() - ready_at_s
                return self._how(first, code), served_s
        finally:
            with self._changed:
                self._process = None
            shutil.rmtree(folder, ignore_errors=True)

    def _launch(self, folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes] | None:
        """The process, with its settings on the way; None when it shall stop."""
        settings = {**self._settings(), "folder": str(folder)}
        with self._changed:
            if self._stopping.is_set():
                return None
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "barnraise.swarm.sidecar", self._service],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,
            )
        self._now(doing="starting", why="", pid=process.pid, starts=self._state.starts + 1)
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(settings).encode("ascii") + b"\n")
            process.stdin.flush()  # and stays open: its end is how the sidecar learns that its owner is gone
        return process

    def _first_line(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """What it says once it is ready, or cannot be; {} when it says nothing."""
        assert process.stdout is not None
        try:
            value = json.loads(process.stdout.readline(LINE_MAX_BYTES))
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def _how(self, first: Mapping[str, Any], code: int) -> str:
        what = f"the sidecar for {self._service}"
        if "failed" in first:
            return f"{what} cannot start: {first['failed']}"
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{what} {ended} (see {self._log_path})"

    def _now(self, **changes: Any) -> None:
        with self._changed:
            self._state = replace(self._state, **changes)
            self._changed.notify_all()


def _short_folder() -> Path:
    """A new folder for sockets, for this user only; elsewhere than usual where that path is too long for them."""
    usual = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    fits = len(os.fsencode(usual)) <= PATH_MAX_BYTES
    return Path(tempfile.mkdtemp(prefix="br-swarm-", dir=usual if fits else "/tmp"))  # noqa: S108  mkdtemp: new, and 0700


def _fresh_log(path: Path) -> IO[bytes]:
    """The log, open to be written on; what is older than a few megabytes ago is dropped."""
    if path.exists() and path.stat().st_size > LOG_MAX_BYTES:
        path.unlink()
    return path.open("ab")
