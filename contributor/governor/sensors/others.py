"""What everybody but this node does at the processor: time that they get, and time that they stand and wait for it.

Linux counts both for every thread in nanoseconds (schedstat). Where it also adds them up for each processor, one file
is read and the node's own threads are taken off; elsewhere the threads of all processes are read one by one. Other
systems tell the time that was used, and not the waiting.

Source: Linux, Documentation/scheduler/sched-stats.rst
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import psutil

from contributor.governor.sensors.sensor import Reading

__all__ = ["Ledger", "OthersSensor", "Times", "of_processors", "of_thread"]

NANO = 1e-9
LIST_EVERY = 8  # looks, after which the list of threads is made anew
Times = tuple[int, int]  # nanoseconds on a processor, and waiting for one


class OthersSensor:
    """Processor time and waiting of everything but this process and its children."""

    name: ClassVar[str] = "others"
    fields: ClassVar[tuple[str, ...]] = ("others_cpu_s", "others_wait_s", "cpus")
    every_s: ClassVar[float] = 0.4

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._ours, self._all = Ledger(), Ledger()
        self._threads: list[Path] = []
        self._looks = 0

    def read(self) -> Reading:
        cpus = psutil.cpu_count() or 1
        if not (self._proc / "self" / "schedstat").is_file():
            return self._time_only(cpus)
        ours = self._ours.after(_read(self._threads_of(os.getpid())))
        whole = self._proc / "schedstat"
        if whole.is_file():
            ran, waited = of_processors(whole.read_text())
            ran, waited = ran - ours[0], waited - ours[1]
        else:
            ran, waited = self._all.after(_read(self._others()))
        return Reading({"others_cpu_s": ran * NANO, "others_wait_s": waited * NANO, "cpus": cpus})

    def _time_only(self, cpus: int) -> Reading:
        times, us = psutil.cpu_times(), psutil.Process().cpu_times()
        used_s = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        values = {"others_cpu_s": max(0.0, used_s - us.user - us.system), "cpus": cpus}
        return Reading(values, {"others_wait_s": "this system does not tell how long processes wait for a processor"})

    def _threads_of(self, pid: int) -> list[Path]:
        return list((self._proc / str(pid) / "task").glob("*/schedstat"))

    def _others(self) -> list[Path]:
        """Threads of every other process. The list is kept for a few looks, for making it is most of the work."""
        if self._looks % LIST_EVERY == 0:
            family = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
            pids = (int(path.name) for path in self._proc.iterdir() if path.name.isdigit())
            self._threads = [thread for pid in pids if pid not in family for thread in self._threads_of(pid)]
        self._looks += 1
        return self._threads


@dataclass
class Ledger:
    """Sums over threads that come and go. What a thread did before it ended stays in the sum."""

    last: dict[str, Times] = field(default_factory=dict)
    ran: int = 0
    waited: int = 0

    def after(self, now: Mapping[str, Times]) -> Times:
        """The sums after a look at every thread that there is now.

        What a thread shows at the first look of all is the past; one that comes later has done it since.
        """
        first = not self.last
        for thread, (ran, waited) in now.items():
            ran_before, waited_before = self.last.get(thread, (ran, waited) if first else (0, 0))
            if ran < ran_before:  # another thread of the same number
                ran_before, waited_before = 0, 0
            self.ran += ran - ran_before
            self.waited += max(0, waited - waited_before)
        self.last = dict(now)
        return self.ran, self.waited


def _read(threads: list[Path]) -> dict[str, Times]:
    return dict(_each(threads))


def _each(threads: list[Path]) -> Iterator[tuple[str, Times]]:
    for thread in threads:
        try:
            yield str(thread), of_thread(thread.read_text())
        except OSError:  # it has ended since the list was made
            continue


def of_thread(text: str) -> Times:
    """The first two numbers of a thread's schedstat."""
    ran, waited, *_ = text.split()
    return int(ran), int(waited)


def of_processors(text: str) -> Times:
    """The sums of all processors in /proc/schedstat: fields 7 and 8 of each line that begins with cpu."""
    lines = [line.split() for line in text.splitlines() if line.startswith("cpu")]
    return sum(int(line[7]) for line in lines), sum(int(line[8]) for line in lines)
