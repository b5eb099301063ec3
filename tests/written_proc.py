"""A /proc of files, as Linux writes it where nobody adds up what threads wait: for the sensor of others."""

from __future__ import annotations

import os
from pathlib import Path

NANO = 1_000_000_000
TICKS_PER_S = 100


class WrittenProc:
    """Threads that a test moves on, and the line of /proc/stat that follows from them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.us = os.getpid()
        self._ran_s: dict[tuple[int, int], float] = {}
        (place / "self").mkdir()
        (place / "self" / "schedstat").write_text("1 1 1\n")
        self.put(1, ran_s=3.0)
        self.put(self.us)

    def put(self, pid: int, thread: int | None = None, *, ran_s: float = 0.0, waited_s: float = 0.0) -> None:
        """A thread of a process, its first one unless said, with what it has run and waited since it began."""
        number = pid if thread is None else thread
        folder = self.place / str(pid) / "task" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "schedstat").write_text(f"{round(ran_s * NANO)} {round(waited_s * NANO)} 1\n")
        self._ran_s[pid, number] = ran_s
        ticks = int(sum(self._ran_s.values()) * TICKS_PER_S)
        lines = [f"cpu{name} {ticks} 0 0 4000 70 5 5 900 0 0\n" for name in ("  ", "0 ")]
        (self.place / "stat").write_text("".join(lines))

    def born_of(self, pid: int, parent: int) -> None:
        """Say who started a process."""
        (self.place / str(pid)).mkdir(exist_ok=True)
        (self.place / str(pid) / "stat").write_text(f"{pid} (a) name) S {parent} {pid} 0\n")
