"""What a sidecar takes of the machine: with all the processes that it starts, while they live."""

from __future__ import annotations

import psutil

from barnraise.swarm.process import Sidecar

__all__ = ["READY_S", "cpu_s", "memory_of", "processes_of"]

READY_S = 300.0
"""That one may take until it is ready, on a machine where many start."""


def processes_of(sidecar: Sidecar) -> list[psutil.Process]:
    """It, and what it started."""
    pid = sidecar.state.pid
    assert pid is not None
    leader = psutil.Process(pid)
    return [leader, *leader.children(recursive=True)]


def cpu_s(sidecar: Sidecar) -> float:
    """Seconds that they have computed."""
    return sum(sum(process.cpu_times()[:2]) for process in processes_of(sidecar))


def memory_of(sidecar: Sidecar) -> tuple[int, int]:
    """Bytes that they share with nobody, and these with their part of what they share."""
    found = [process.memory_full_info() for process in processes_of(sidecar)]
    return sum(one.uss for one in found), sum(one.pss for one in found)
