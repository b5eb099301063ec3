"""The owner's other work: a job that measures its own progress.

    steady        compresses on every processor without a break, as a build does
    bursts        compresses on one processor for 6 s, then rests for 9 s
    interactive   has 25 ms of compressing to do four times a second, as an editor or a game loop has

It prints one JSON line: ``rate``, pieces done a second (for ``interactive``: answers a second of waiting for them), and
what the kernel counted, ``cpu_s`` and ``wait_s``. A file's time says when its owner was last busy.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

PIECE = b"".join(b"line %d of a text that a compressor has some work with\n" % (index * 7919) for index in range(600))
BUSY_S, REST_S = 6.0, 9.0
PERIOD_S, PIECES = 0.25, 25


def piece() -> None:
    zlib.compress(PIECE, 6)


def steady(seconds: float, present: Callable[[], None]) -> float:
    began_s, done = time.perf_counter(), 0
    while time.perf_counter() - began_s < seconds:
        piece()
        present()
        done += 1
    return done / (time.perf_counter() - began_s)


def bursts(seconds: float, present: Callable[[], None]) -> float:
    began_s, rates = time.perf_counter(), []
    while time.perf_counter() - began_s < seconds:
        rates.append(steady(BUSY_S, present))
        time.sleep(REST_S)  # resting is what this job does, in real time beside a real node
    return sum(rates) / len(rates)


def interactive(seconds: float, present: Callable[[], None]) -> float:
    began_s, latencies_s = time.perf_counter(), []
    while (now_s := time.perf_counter()) - began_s < seconds:
        due_s = began_s + PERIOD_S * (1 + int((now_s - began_s) / PERIOD_S))
        time.sleep(due_s - now_s)  # likewise: its next work is due then
        for _ in range(PIECES):
            piece()
        present()
        latencies_s.append(time.perf_counter() - due_s)
    return len(latencies_s) / sum(latencies_s)


KINDS = {"steady": steady, "bursts": bursts, "interactive": interactive}


def one(kind: str, seconds: float, file: Path) -> dict[str, float]:
    """Run a job in this process."""
    last_s = 0.0

    def present() -> None:
        nonlocal last_s
        if time.monotonic() - last_s > 0.1:
            last_s = time.monotonic()
            os.utime(file)

    rate = KINDS[kind](seconds, present)
    cpu_ns, wait_ns, *_ = Path("/proc/self/schedstat").read_text().split()
    return {"rate": rate, "cpu_s": int(cpu_ns) / 1e9, "wait_s": int(wait_ns) / 1e9}


def main() -> None:
    kind, seconds, file = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    processes = (os.cpu_count() or 1) if kind == "steady" else 1
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        parts = pool.starmap(one, [(kind, seconds, file)] * processes)
    print(json.dumps({key: sum(part[key] for part in parts) for key in parts[0]}))


if __name__ == "__main__":
    main()
