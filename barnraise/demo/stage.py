"""The demo's processes: started with public commands, listened to line by line, started again when killed.

Everything they print is also in a log file of the demo's folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from barnraise.errors import StorageError
from barnraise.process import stop_group

__all__ = ["Actor", "Stage"]

MAX_STARTS = 12


@dataclass
class Actor:
    """One process and how to start it.

    Attributes:
        arguments: after ``python``. once: it is not started again after it ends by itself.
    """

    name: str
    arguments: Sequence[str]
    log: Path
    once: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    starts: int = 0


class Stage:
    """Starts actors, keeps them alive, and collects what they print as JSON lines."""

    def __init__(self) -> None:
        self._actors: dict[str, Actor] = {}
        self._heard: Queue[tuple[str, Mapping[str, Any]]] = Queue()

    def enter(self, actor: Actor) -> None:
        """Start an actor; from now on :meth:`tend` keeps it alive."""
        self._actors[actor.name] = actor
        self._start(actor)

    def heard(self) -> list[tuple[str, Mapping[str, Any]]]:
        """What was printed since the last call: (actor, JSON object)."""
        lines = []
        while True:
            try:
                lines.append(self._heard.get_nowait())
            except Empty:
                return lines

    def tend(self) -> list[str]:
        """Start actors again that were killed; one sentence for each.

        Raises:
            StorageError: one keeps dying; its log is named.
        """
        told = []
        for actor in self._actors.values():
            if actor.process is None or actor.process.poll() is None:
                continue
            code = actor.process.returncode
            stop_group(actor.process)
            actor.process = None
            if actor.once and code == 0:
                continue
            if actor.starts >= MAX_STARTS or code > 0:
                raise StorageError(f"{actor.name} ended with exit code {code}; see {actor.log}")
            how = f"was killed (signal {-code})" if code else "was stopped"
            told.append(f"{actor.name} {how}; starting it again")
            self._start(actor)
        return told

    def leave(self, names: Sequence[str] | None = None, grace_s: float = 10.0) -> None:
        """Stop these actors, or all, newest first: asked together, then waited for."""
        leaving = [actor for name, actor in self._actors.items() if names is None or name in names]
        for actor in leaving:
            if actor.process is not None and actor.process.poll() is None:
                actor.process.terminate()
        for actor in reversed(leaving):
            if actor.process is not None:
                stop_group(actor.process, grace_s)
            self._actors.pop(actor.name)

    def _start(self, actor: Actor) -> None:
        actor.starts += 1
        actor.process = subprocess.Popen(
            [sys.executable, *actor.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C is the demo's to handle
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
        )
        threading.Thread(target=self._listen, args=(actor, actor.process), daemon=True).start()

    def _listen(self, actor: Actor, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with actor.log.open("ab") as log, process.stdout as lines:
            for line in lines:
                log.write(line)
                log.flush()
                try:
                    value = json.loads(line)
                except ValueError:
                    continue
                if isinstance(value, dict):
                    self._heard.put((actor.name, value))
