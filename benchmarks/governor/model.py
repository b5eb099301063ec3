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
from contributor.governor.sensors.others import OthersSensor

__all__ = ["Job", "Machine", "Outcome", "Sight", "bursts", "run", "slowdown", "starts_at", "steady"]

TICK_S = 0.01
ASK_AGAIN_S = 0.5
Job = Callable[[float], int]  # seconds since the start -> threads that want a processor
# Processor time of the others, their waiting, the node's own time, in seconds -> what a sensor tells of the first two.
Sight = Callable[[float, float, float], tuple[float, float]]


@dataclass(frozen=True)
class Machine:
    """Attributes:
    cpus: processors. steal: share of a processor that a thread of the node takes from a thread that wants all of it.
    step_cpu_s: processor time of a training step, over all of the node's threads, one for each processor.
    look_every_s: how long a reading of what others do holds.
    """

    cpus: int = 2
    steal: float = 0.12
    step_cpu_s: float = 0.5
    look_every_s: float = OthersSensor.every_s


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


def starts_at(first_s: float, job: Job) -> Job:
    """A job that somebody starts only then."""
    return lambda at_s: job(at_s - first_s) if at_s >= first_s else 0


def all_at_once(owner_s: float, waited_s: float, _ours_s: float) -> tuple[float, float]:
    """A sensor that nobody escapes."""
    return owner_s, waited_s


def run(
    machine: Machine, job: Job, policy: Policy | None, *, seconds: float, node: bool = True, sight: Sight = all_at_once
) -> Outcome:
    """What becomes of the job and of the node, under a policy or none."""
    owner_s = waited_s = 0.0
    one = _Node(machine, policy, sight)
    for tick in range(round(seconds / TICK_S)):
        now_s = tick * TICK_S
        wanted = job(now_s)
        shared = machine.cpus if node and one.training else 0
        stolen_s = machine.steal * TICK_S * min(wanted, shared)
        owner_s += min(wanted, machine.cpus) * TICK_S - stolen_s
        waited_s += max(0, wanted - machine.cpus) * TICK_S + stolen_s
        if node:
            one.tick(now_s + TICK_S, max(0, machine.cpus - wanted) * TICK_S + stolen_s, owner_s, waited_s)
    return Outcome(owner_s, one.steps, tuple(one.duties))


class _Node:
    """Steps and pauses, as contributor/unit_runner.py has them."""

    def __init__(self, machine: Machine, policy: Policy | None, sight: Sight) -> None:
        self.training, self.steps = True, 0
        self.duties: list[float] = []
        self._machine, self._policy, self._state, self._sight = machine, policy, None, sight
        self._left_s, self._began_s, self._ended_s = machine.step_cpu_s, 0.0, 0.0
        self._step_s = self._trained_s = self._asked_s = self._got_s = 0.0
        self._read = (-machine.look_every_s, 0.0, 0.0)

    def tick(self, now_s: float, got_s: float, owner_s: float, waited_s: float) -> None:
        """A tick has passed, in which the node got so much processor time while it trained."""
        if self.training:
            self._left_s, self._got_s = self._left_s - got_s, self._got_s + got_s
            if self._left_s > 0:
                return
            self._step_s, self._ended_s = now_s - self._began_s, now_s
            self._trained_s, self.steps = self._trained_s + self._step_s, self.steps + 1
        elif now_s - self._asked_s < ASK_AGAIN_S and now_s < self._until_s:
            return
        duty = self._duty(now_s, owner_s, waited_s)
        self._asked_s, self._until_s = now_s, self._ended_s + self._step_s * (1 / duty - 1)
        self.training = now_s >= self._until_s
        if self.training:
            self._left_s, self._began_s = self._machine.step_cpu_s, now_s

    def _duty(self, now_s: float, owner_s: float, waited_s: float) -> float:
        if self._policy is None:
            return 1.0
        if now_s - self._read[0] >= self._machine.look_every_s:
            self._read = now_s, *self._sight(owner_s, waited_s, self._got_s)
        read_s, owner_s, waited_s = self._read
        counters = NodeCounters(trained_s=self._trained_s, steps=self.steps, step_s=self._step_s, micro_batch=1)
        seen = Observation(
            at_ms=round(1000 * now_s),
            clock_s=now_s,
            others_cpu_s=owner_s,
            others_wait_s=waited_s,
            cpus=self._machine.cpus,
            node=counters,
            read_at_s={"others": read_s} if read_s < now_s else {},
        )
        wish, self._state = self._policy.judge(seen, self._state)
        self.duties.append(wish.duty)
        return wish.duty


def slowdown(machine: Machine, job: Job, policy: Policy | None, *, seconds: float) -> float:
    """By how much longer the job needs for its work with the node than alone, as a share."""
    alone = run(machine, job, None, seconds=seconds, node=False).owner_s
    return alone / run(machine, job, policy, seconds=seconds).owner_s - 1
