"""A machine in which time is a number: processors, an owner's job, and a node that asks for advice.

Nothing here sleeps or draws by chance. A node's thread that shares a processor with a thread of the owner's takes
``steal`` of it, as an operating system's scheduler does that lets a process of the lowest rank have its turn; the
owner's thread waits meanwhile, and that is what the kernel counts. Two threads of the owner's on one processor make
each other wait as well, and that is nobody else's fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from contributor.governor.observation import NodeCounters, Observation
from contributor.governor.policy import Policy

__all__ = ["Machine", "Outcome", "bursts", "slowdown", "steady"]

TICK_S = 0.01
Job = Callable[[float], int]  # seconds since the start -> threads that want a processor


@dataclass(frozen=True)
class Machine:
    """Attributes:
    cpus: processors. steal: share of a processor that a thread of the node takes from a thread that wants all of it.
    step_cpu_s: processor time of a training step, over all of the node's threads, one for each processor.
    """

    cpus: int = 2
    steal: float = 0.12
    step_cpu_s: float = 0.5


@dataclass(frozen=True)
class Outcome:
    """Attributes:
    owner_s: processor time that the owner's job got. steps: that the node did.
    duties: that it was told, in order.
    """

    owner_s: float
    steps: int
    duties: tuple[float, ...]


def steady(threads: int) -> Job:
    """A job that always wants so many processors."""
    return lambda _at_s: threads


def bursts(threads: int, every_s: float, busy_s: float) -> Job:
    """A job that is busy for a while, again and again."""
    return lambda at_s: threads if at_s % every_s < busy_s else 0


def run(machine: Machine, job: Job, policy: Policy | None, *, seconds: float, node: bool = True) -> Outcome:
    """What becomes of the job and of the node, under a policy or none."""
    owner_s = waited_s = left_s = pause_s = trained_s = 0.0
    began_s, steps, duties, state = 0.0, 0, [], None
    left_s = machine.step_cpu_s if node else 0.0
    for tick in range(round(seconds / TICK_S)):
        now_s = tick * TICK_S
        wanted = job(now_s)
        training = node and pause_s <= 0
        shared = machine.cpus if training else 0
        got = min(wanted, machine.cpus) * TICK_S
        stolen = machine.steal * TICK_S * min(wanted, shared)
        owner_s += got - stolen
        waited_s += max(0, wanted - machine.cpus) * TICK_S + stolen
        if training:
            left_s -= max(0, machine.cpus - wanted) * TICK_S + stolen
            if left_s <= 0:
                step_s = now_s + TICK_S - began_s
                trained_s, steps, left_s = trained_s + step_s, steps + 1, machine.step_cpu_s
                pause_s = 0.0
                if policy is not None:
                    counters = NodeCounters(trained_s=trained_s, steps=steps, step_s=step_s, micro_batch=1)
                    seen = Observation(
                        at_ms=round(1000 * now_s),
                        clock_s=now_s + TICK_S,
                        others_cpu_s=owner_s,
                        others_wait_s=waited_s,
                        cpus=machine.cpus,
                        node=counters,
                    )
                    wish, state = policy.judge(seen, state)
                    duties.append(wish.duty)
                    pause_s = step_s * (1 - wish.duty) / wish.duty
                began_s = now_s + TICK_S + pause_s
        elif node:
            pause_s -= TICK_S
    return Outcome(owner_s, steps, tuple(duties))


def slowdown(machine: Machine, job: Job, policy: Policy | None, *, seconds: float) -> float:
    """By how much longer the job needs for its work with the node than alone, as a share."""
    alone = run(machine, job, None, seconds=seconds, node=False).owner_s
    return alone / run(machine, job, policy, seconds=seconds).owner_s - 1
