"""How much the node slows everybody else, found by experiments that it makes on itself.

A program that wants a processor and does not get one stands in the run queue, and the system counts how long. Per
second of processor time that the others get, they wait

    wait / cpu = a + b demand + on (c + d demand)

where *on* is the share of the time in which the node trains and *demand* is how much of the machine the others want.
The first half is what they do to each other; the second is the node's doing, and at on = 1 it is their *slowdown*: a
job that needs 100 s of processor time and waits 7 s more because of us takes 107 s. The two halves can be told apart
because the node pauses now and then: what waits while it pauses is not its fault.

What this does not see: slowness inside the processor itself, when the node shares caches, memory bandwidth or a core's
two threads with a program that never waits. The system has no counter for that which anybody may read.

Source: holding back the suspect and watching whether its victim recovers is the experiment of Zhang et al. 2013,
"CPI2: CPU performance isolation for shared compute clusters"; here the suspect makes it on itself, and run-queue
waiting (``run_delay`` of Linux's schedstat) stands for the cycles per instruction that an ordinary user may not read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from contributor.governor.learning.regression import Belief, Estimate, prior

__all__ = ["DEMAND_LEAST", "Slowdown", "Window"]

DEMAND_LEAST = 0.02  # of the machine; below it there is nobody to be slowed
BLAME_HALF_LIFE_S = 60.0
# Until it is measured, full training is taken to slow others by a fifth or so: enough to begin carefully.
IGNORANT = prior((0.0, 0.0, 0.2, 0.0), (0.3, 0.3, 0.3, 0.3), noise=0.05, memory=0.99)


@dataclass(frozen=True, slots=True)
class Window:
    """What happened between two looks.

    Attributes:
        wall_s: between them. on_s: of that, spent training.
        cpu_s, wait_s: processor time of the others, and their waiting for it.
        cpus: processors of the machine.
    """

    wall_s: float
    on_s: float
    cpu_s: float
    wait_s: float
    cpus: int

    @property
    def on(self) -> float:
        """Share of the window in which the node trained."""
        return min(1.0, self.on_s / self.wall_s)

    @property
    def demand(self) -> float:
        """Share of the machine that the others wanted, in [0, 1]."""
        return min(1.0, (self.cpu_s + self.wait_s) / (self.wall_s * self.cpus))


@dataclass(frozen=True, slots=True)
class Slowdown:
    """What is known of it so far.

    Attributes:
        belief: in the four weights above.
        cpu_s, blamed_s: of late, processor time of the others, and their waiting beyond what they do to each other.
    """

    belief: Belief = IGNORANT
    cpu_s: float = 0.0
    blamed_s: float = 0.0

    def see(self, window: Window) -> Slowdown:
        """After one more window. One in which the others wanted next to nothing says nothing."""
        kept = 0.5 ** (window.wall_s / BLAME_HALF_LIFE_S)
        faded = replace(self, cpu_s=kept * self.cpu_s, blamed_s=kept * self.blamed_s)
        if window.demand < DEMAND_LEAST or window.cpu_s <= 0:
            return faded
        ratio = window.wait_s / window.cpu_s
        x = (1.0, window.demand, window.on, window.on * window.demand)
        belief = self.belief.see(x, ratio, weight=window.cpu_s)
        alone = max(0.0, belief.estimate((1.0, window.demand, 0.0, 0.0)).mean)
        return Slowdown(belief, faded.cpu_s + window.cpu_s, faded.blamed_s + window.wait_s - alone * window.cpu_s)

    def of_full_work(self, demand: float) -> Estimate:
        """Slowdown of the others if the node trained all the time while they want this much."""
        return self.belief.estimate((0.0, 0.0, 1.0, demand))

    @property
    def of_late(self) -> float:
        """Slowdown that the node has caused in the last minute or so, as a share; 0 while nobody was there."""
        return max(0.0, self.blamed_s / self.cpu_s) if self.cpu_s > 0 else 0.0
