"""What everybody but this node does at the processor: time that they get, and time that they stand and wait for it.

Linux counts both for every thread in nanoseconds (schedstat). Where it also adds them up for each processor, one file
is read and the node's own threads are taken off; elsewhere the threads of all processes are read one by one. Other
systems tell the time that was used, and not the waiting.

Most of a thousand threads sleep, so only those are read that ran of late, and all of them are listed now and then. But
who has just begun is not among them, and until they are seen nothing holds the node back. One line of /proc/stat says
how long all processors were busy: what neither the node nor a thread that is read has done was done by somebody else,
and then a list is made at once.

Source: Linux, Documentation/scheduler/sched-stats.rst and Documentation/filesystems/proc.rst
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import psutil

from contributor.governor.sensors.sensor import Reading

__all__ = ["Ledger", "OthersSensor", "Times", "is_stale", "of_machine", "of_parent", "of_processors", "of_thread"]

NANO = 1e-9
LIST_EVERY = 8  # looks, after which all threads are listed in any case
UNSEEN_MOST_S = 0.05  # /proc/stat counts in ticks of 10 ms, and for each processor
Times = tuple[int, int]  # nanoseconds on a processor, and waiting for one


class OthersSensor:
    """Processor time and waiting of everything but this process and its children."""

    name: ClassVar[str] = "others"
    fields: ClassVar[tuple[str, ...]] = ("others_cpu_s", "others_wait_s", "cpus")
    every_s: ClassVar[float] = 0.2

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._ours, self._all = Ledger(), Ledger()
        self._lively: list[str] = []
        self._childrens: list[str] = []
        self._parents: dict[int, int] = {}
        self._listed: Mapping[str, Times] = {}
        self._looks, self._unseen_s = LIST_EVERY, 0.0

    def read(self) -> Reading:
        cpus = psutil.cpu_count() or 1
        if not (self._proc / "self" / "schedstat").is_file():
            return self._time_only(cpus)
        whole = self._proc / "schedstat"
        if whole.is_file():
            ran, waited = of_processors(whole.read_text())
            ours = self._of_us()
            ran, waited = ran - ours[0], waited - ours[1]
        else:
            ran, waited = self._of_threads()
        return Reading({"others_cpu_s": ran * NANO, "others_wait_s": waited * NANO, "cpus": cpus})

    def _time_only(self, cpus: int) -> Reading:
        times, us = psutil.cpu_times(), psutil.Process().cpu_times()
        used_s = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        values = {"others_cpu_s": max(0.0, used_s - us.user - us.system), "cpus": cpus}
        return Reading(values, {"others_wait_s": "this system does not tell how long processes wait for a processor"})

    def _of_us(self) -> Times:
        return self._ours.after(_read([*self._threads_of(os.getpid()), *self._childrens]))

    def _of_threads(self) -> Times:
        """The sums over the threads of other processes that ran of late, or over all of them where that is due."""
        self._looks += 1
        times, unseen_s = self._look(self._lively, part=True)
        if is_stale(self._looks, unseen_s - self._unseen_s):
            times, self._unseen_s = self._look(self._list(), part=False)
            before, self._listed, self._looks = self._listed, self._all.last, 0
            self._lively = [thread for thread, (ran, _) in self._listed.items() if before.get(thread, (0, 0))[0] != ran]
        return times

    def _look(self, threads: list[str], *, part: bool) -> tuple[Times, float]:
        """The sums after reading these, and how long processors have been busy with nobody who is in the sums."""
        times = self._all.after(_read(threads), part=part)
        busy_s = of_machine((self._proc / "stat").read_text())
        return times, busy_s - NANO * (times[0] + self._of_us()[0])

    def _list(self) -> list[str]:
        """Threads of every process, with those of this one's children set apart."""
        pids = sorted(int(path.name) for path in self._proc.iterdir() if path.name.isdigit())
        self._parents = {pid: self._parents.get(pid) or self._parent_of(pid) for pid in pids}
        family = {os.getpid()}
        for pid in pids:  # parents first
            if self._parents[pid] in family:
                family.add(pid)
        self._childrens = [thread for pid in family - {os.getpid()} for thread in self._threads_of(pid)]
        return [thread for pid in pids if pid not in family for thread in self._threads_of(pid)]

    def _parent_of(self, pid: int) -> int:
        try:
            return of_parent((self._proc / str(pid) / "stat").read_text())
        except OSError:  # it has ended
            return 0

    def _threads_of(self, pid: int) -> list[str]:
        tasks = f"{self._proc}/{pid}/task"
        try:
            return [f"{tasks}/{thread}/schedstat" for thread in os.listdir(tasks)]  # noqa: PTH208  # a third of the time
        except OSError:  # it has ended
            return []


def is_stale(looks: int, unseen_s: float) -> bool:
    """Whether all threads are to be listed.

    Args:
        looks: since they were. unseen_s: that processors were busy since, with nobody who was read.
    """
    return looks >= LIST_EVERY or unseen_s > UNSEEN_MOST_S


@dataclass
class Ledger:
    """Sums over threads that come and go. What a thread did before it ended stays in the sum."""

    last: dict[str, Times] = field(default_factory=dict)
    ran: int = 0
    waited: int = 0

    def after(self, now: Mapping[str, Times], *, part: bool = False) -> Times:
        """The sums after a look at every thread that there is now, or at a part of them.

        What a thread shows at the first look of all is the past; one that comes later has done it since.
        """
        first = not self.last
        for thread, (ran, waited) in now.items():
            ran_before, waited_before = self.last.get(thread, (ran, waited) if first else (0, 0))
            if ran < ran_before:  # another thread of the same number
                ran_before, waited_before = 0, 0
            self.ran += ran - ran_before
            self.waited += max(0, waited - waited_before)
        self.last = {**self.last, **now} if part else dict(now)
        return self.ran, self.waited


def _read(threads: Iterable[str]) -> dict[str, Times]:
    return dict(_each(threads))


def _each(threads: Iterable[str]) -> Iterator[tuple[str, Times]]:
    for thread in threads:
        try:
            file = os.open(thread, os.O_RDONLY)  # a third of what pathlib takes, for a thousand threads maybe
            try:
                yield thread, of_thread(os.read(file, 100).decode())
            finally:
                os.close(file)
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


def of_machine(text: str) -> float:
    """Seconds that all processors were busy for programs: the first three numbers of /proc/stat."""
    user, nice, system = text.split(maxsplit=4)[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def of_parent(text: str) -> int:
    """The parent in a process's stat, whose name may hold anything."""
    return int(text.rpartition(")")[2].split()[1])
