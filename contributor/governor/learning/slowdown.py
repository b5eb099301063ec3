"""How much the node slows everybody else, found by experiments that it makes on itself.

A program that wants a processor and does not get one stands in the run queue, and the system counts how long. Of the
time that others want, they spend in waiting

    wait / (cpu + wait) = overload + a + b demand + on (c + d demand)

where *on* is the share of the time in which the node trains and *demand* is how much of the machine the others want,
at most all of it here. Where they want more than there is, they must wait for each other, and that is counted and not
learned: *overload* is 1 - 1 / demand, or 0. So when somebody's second build begins or ends, nothing that was learned
turns wrong. The first half is what they do to each other; the second, the *harm*, is the node's doing. The two can be
told apart because the node pauses now and then: what waits while it pauses is not its fault. A job that gets the share
g of what it wants, and g - harm beside the node, takes g / (g - harm) - 1 longer: that is its *slowdown*.

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
PAUSED = 0.05  # of a window: trained less, it shows what others do to each other
PAUSED_LEAST_S = 1.0  # of what others wanted meanwhile, before that is believed
LOOKED_AWAY_S = 5.0  # neither trained nor looked: the picture of so long a time is of many things at once
NO_MORE_THAN = 1.1  # processors cannot have worked longer than there was time, but for the moment a look takes
GETS_LEAST_WAIT = 0.99  # of what they want; beyond, a slowdown is a division by nearly nothing
# Until it is measured, full training is taken to cost others a sixth of their time or so: enough to begin carefully.
IGNORANT = prior((0.0, 0.0, 0.15, 0.0), (0.3, 0.3, 0.25, 0.25), noise=0.05, memory=0.99)


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
        """How much of the machine the others wanted; more than 1 where they stood in each other's way."""
        return (self.cpu_s + self.wait_s) / (self.wall_s * self.cpus)

    @property
    def is_whole(self) -> bool:
        """Whether it shows one thing: a short time, and that time only.

        Threads that come to light late bring their past along. What happened while the node was away, between two units
        perhaps, has the weight of minutes and tells nothing of steps and pauses.
        """
        watched = self.wall_s - self.on_s <= LOOKED_AWAY_S
        return watched and self.cpu_s <= NO_MORE_THAN * self.wall_s * self.cpus


@dataclass(frozen=True, slots=True)
class Slowdown:
    """What is known of it so far.

    Attributes:
        belief: in the four weights above.
        cpu_s, blamed_s: of late, processor time of the others, and their waiting beyond what they do to each other.
        paused_wanted_s, paused_wait_s: of late and while the node paused, what the others wanted of processors, and
            their waiting beyond overload, which is below zero where they made room for each other.
    """

    belief: Belief = IGNORANT
    cpu_s: float = 0.0
    blamed_s: float = 0.0
    paused_wanted_s: float = 0.0
    paused_wait_s: float = 0.0

    def see(self, window: Window) -> Slowdown:
        """After one more window. One in which the others wanted next to nothing says nothing."""
        faded = self._faded(0.5 ** (window.wall_s / BLAME_HALF_LIFE_S))
        wanted_s = window.cpu_s + window.wait_s
        if window.demand < DEMAND_LEAST or wanted_s <= 0 or not window.is_whole:
            return faded
        demand = min(1.0, window.demand)
        learned = window.wait_s / wanted_s - _overload(window.demand)
        belief = self.belief.see((1.0, demand, window.on, window.on * demand), learned, weight=wanted_s)
        known = replace(faded, belief=belief, cpu_s=faded.cpu_s + window.cpu_s)
        if window.on < PAUSED:
            known = replace(
                known,
                paused_wanted_s=known.paused_wanted_s + wanted_s,
                paused_wait_s=known.paused_wait_s + learned * wanted_s,
            )
        return replace(known, blamed_s=known.blamed_s + window.wait_s - known._excused(window.demand) * wanted_s)

    def _faded(self, kept: float) -> Slowdown:
        return replace(
            self,
            cpu_s=kept * self.cpu_s,
            blamed_s=kept * self.blamed_s,
            paused_wanted_s=kept * self.paused_wanted_s,
            paused_wait_s=kept * self.paused_wait_s,
        )

    def _excused(self, demand: float) -> float:
        """Share of the time they want that others wait without our doing: as in the last pauses, if there were any.

        What is blamed on the node is set against what was seen, so that an error of the model cannot excuse it.
        """
        if self.paused_wanted_s < PAUSED_LEAST_S:
            return self.waiting_alone(demand)
        return min(GETS_LEAST_WAIT, max(0.0, _overload(demand) + self.paused_wait_s / self.paused_wanted_s))

    def waiting_alone(self, demand: float) -> float:
        """Share of the time they want that others would wait for each other, without the node."""
        learned = self.belief.estimate((1.0, min(1.0, demand), 0.0, 0.0)).mean
        return min(GETS_LEAST_WAIT, max(0.0, _overload(demand) + learned))

    def harm(self, demand: float) -> Estimate:
        """Share of the time they want that others wait for the node, if it trains all the time."""
        return self.belief.estimate((0.0, 0.0, 1.0, min(1.0, demand)))

    def of_full_work(self, demand: float) -> tuple[float, float]:
        """Slowdown of the others if the node trained all the time: what is expected, and by the cautious end."""
        gets, harm = 1.0 - self.waiting_alone(demand), self.harm(demand)

        def slowdown(lost: float) -> float:
            return gets / max(gets - max(lost, 0.0), 1.0 - GETS_LEAST_WAIT) - 1.0

        return slowdown(harm.mean), slowdown(harm.high)

    def duty_for(self, slowdown: float, demand: float) -> float:
        """The share of time to train at which others are slowed by this much, by the cautious end; at most 1."""
        lost = (1.0 - self.waiting_alone(demand)) * slowdown / (1.0 + slowdown)
        high = self.harm(demand).high
        return 1.0 if high <= lost else lost / high

    @property
    def of_late(self) -> float:
        """Slowdown that the node has caused in the last minute or so, as a share; 0 while nobody was there."""
        return max(0.0, self.blamed_s / self.cpu_s) if self.cpu_s > 0 else 0.0


def _overload(demand: float) -> float:
    """Share of the time they want that others must wait for each other, if they want so much of the machine."""
    return max(0.0, 1.0 - 1.0 / demand) if demand > 0 else 0.0
