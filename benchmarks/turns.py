"""Jobs that take turns, so that a disturbance of the machine falls on everybody, and their clocks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

__all__ = ["Job", "Timings", "ratio", "seconds", "take_turns", "walls"]

Job = Callable[[], object]
Timings = dict[str, list[tuple[float, float]]]  # seconds on the wall, and of processors


def seconds(job: Job) -> tuple[float, float]:
    """Seconds on the wall and of processors that a job takes; what it returns is freed off the clock."""
    start, busy = time.perf_counter(), time.process_time()
    kept = job()
    taken = time.perf_counter() - start, time.process_time() - busy
    del kept
    return taken


def take_turns(jobs: dict[str, Job], repeats: int, before: Job | None = None) -> Timings:
    """Every job ``repeats`` times, in turns; once without a clock first. ``before`` runs ahead of each, not counted."""
    timings: Timings = {name: [] for name in jobs}
    for repeat in range(-1, repeats):
        for name, job in jobs.items():
            if before is not None:
                before()
            taken = seconds(job)
            if repeat >= 0:
                timings[name].append(taken)
    return timings


def walls(timings: list[tuple[float, float]]) -> list[float]:
    return [wall for wall, _ in timings]


def ratio(timings: Timings, name: str, reference: str, *, busy: bool = False) -> float:
    """Median over turns of one job's time as a multiple of another's; ``busy``: of processors, not on the wall."""
    pairs = zip(timings[name], timings[reference], strict=True)
    return statistics.median(one[busy] / max(other[busy], 1e-9) for one, other in pairs)
