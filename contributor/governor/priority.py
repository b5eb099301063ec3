"""Tells the operating system how to rank the node, as the policy ``nice`` decided.

Linux ranks threads, not processes: what is set for a process counts for its first thread and for those that are made
later, so every thread that there is is told. A process may always step back, and needs a privilege to step forward
again; where that is refused the node stays as it is, and says so.

A rank counts among the threads of one group. Systems divide processors among groups first: among cgroups, or, where
these are not used, among sessions (autogroup). So a group that the node has to itself is ranked as well, and one that
it shares is left alone, for it holds the owner's shell too; it is then said that the rank counts for little.

Source: Linux, sched(7), "The autogroup feature"; Documentation/admin-guide/cgroup-v2.rst
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from contributor.governor.policies.nice import Priority

__all__ = ["CGROUPS", "own_cgroup", "rank", "rank_group"]

CGROUPS = Path("/sys/fs/cgroup")


def rank(priority: Priority, *, proc: Path = Path("/proc/self"), cgroups: Path = CGROUPS) -> list[str]:
    """Apply a priority to this process.

    Returns:
        what was refused, in words.
    """
    refused: list[str] = []
    for call in (_nice, _class, _io):
        try:
            call(priority)
        except (OSError, psutil.Error) as error:
            refused.append(f"the system does not let this process change its rank: {error}")
    if sys.platform.startswith("linux"):
        refused += rank_group(priority, proc, cgroups)
    return list(dict.fromkeys(refused))


def rank_group(priority: Priority, proc: Path, cgroups: Path) -> list[str]:
    """Rank the cgroup or the session of this process, if it is alone in there; else say what that means."""
    told = (proc / "cgroup").read_text() if (proc / "cgroup").is_file() else ""
    folder = own_cgroup(told, cgroups)
    if folder is not None:
        return _weigh(folder, priority.cgroup_weight) if priority.cgroup_weight is not None else []
    in_cgroup = any(line.startswith("0::/") and line != "0::/" for line in told.splitlines())
    enabled = proc.parent / "sys" / "kernel" / "sched_autogroup_enabled"
    if not in_cgroup and not (enabled.is_file() and enabled.read_text().strip() == "1"):
        return []
    if not in_cgroup and os.getsid(0) == os.getpid():
        return _write(proc / "autogroup", priority.nice)
    if not priority.nice:
        return []
    group = "cgroup" if in_cgroup else "session"
    return [
        f"the node shares its {group} with other programs, and processors are divided among those first, so its rank "
        "counts for little. Start it with: systemd-run --user --scope barnraise join URL, or load the policy learned"
    ]


def own_cgroup(told: str, cgroups: Path) -> Path | None:
    """The cgroup v2 that holds this process and nobody else; None where others are in it, or there is none.

    Args:
        told: /proc/self/cgroup.
    """
    for line in told.splitlines():
        if line.startswith("0::"):
            folder = cgroups / line.removeprefix("0::/")
            try:
                members = (folder / "cgroup.procs").read_text().split()
            except OSError:
                return None
            alone = members == [str(os.getpid())] and folder != cgroups
            return folder if alone and (folder / "cpu.weight").is_file() else None
    return None


def _threads() -> Iterator[int]:
    tasks = Path("/proc/self/task")
    yield from (int(path.name) for path in tasks.iterdir()) if tasks.is_dir() else [os.getpid()]


def _nice(priority: Priority) -> None:
    if sys.platform == "win32":
        classes = psutil.IDLE_PRIORITY_CLASS if priority.idle_class else psutil.BELOW_NORMAL_PRIORITY_CLASS
        psutil.Process().nice(classes if priority.nice else psutil.NORMAL_PRIORITY_CLASS)
        return
    for thread in _threads():
        if os.getpriority(os.PRIO_PROCESS, thread) != priority.nice:
            os.setpriority(os.PRIO_PROCESS, thread, priority.nice)


def _class(priority: Priority) -> None:
    if not sys.platform.startswith("linux"):
        return
    wanted = os.SCHED_IDLE if priority.idle_class else os.SCHED_OTHER
    for thread in _threads():
        if os.sched_getscheduler(thread) != wanted:
            os.sched_setscheduler(thread, wanted, os.sched_param(0))


def _io(priority: Priority) -> None:
    process = psutil.Process()
    if sys.platform.startswith("linux"):
        process.ionice(psutil.IOPRIO_CLASS_IDLE if priority.idle_io else psutil.IOPRIO_CLASS_NONE)
    elif sys.platform == "win32":
        process.ionice(psutil.IOPRIO_VERYLOW if priority.idle_io else psutil.IOPRIO_NORMAL)


def _weigh(folder: Path, weight: int) -> list[str]:
    files = [folder / name for name in ("cpu.weight", "io.weight")]
    return [line for path in files if path.is_file() for line in _write(path, weight)]


def _write(path: Path, number: int) -> list[str]:
    """Write a number; what was refused, in words."""
    try:
        path.write_text(f"{number}\n")
    except OSError as error:
        return [f"{path} cannot be written: {error.strerror}"]
    return []
