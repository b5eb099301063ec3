"""Learned: work as hard as others do not notice, by a model that learns on this machine what they notice.

Three small models are updated at every look: how much others are slowed (learning/slowdown.py), how long steps take
and how much memory they hold (learning/pace.py). From them follow the share of time to train, so that others are
slowed by no more than the target, and the micro-batch, so that others keep their memory.

Source: a resource policy that is learned, loaded and swapped at run time is the idea of Bitchebe and Balmau 2025,
"MaLV-OS", https://arxiv.org/abs/2508.03676, brought to a volunteer's machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from barnraise.sections import Section
from contributor.governor.learning.pace import Pace, largest_that_fits
from contributor.governor.learning.pauses import DUTY_LEAST, Rhythm
from contributor.governor.learning.slowdown import DEMAND_LEAST, Slowdown, Window
from contributor.governor.observation import Observation
from contributor.governor.wish import Wish

__all__ = ["Knowledge", "Learned", "Marks"]

WINDOW_LEAST_S = 0.5
GLIMPSE_LEAST = 0.05  # of the machine: in less than a window, a tick of the system's clock looks like somebody
AIM_LEAST = 0.1  # of the target, after a minute in which it was missed
GB = 1e9


@dataclass(frozen=True, slots=True)
class Marks:
    """Counters as they stood when a window began, or at a step."""

    clock_s: float
    trained_s: float
    cpu_s: float | None
    wait_s: float | None


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the policy knows.

    Attributes:
        marks: where the present window began; None before the first, and after a restart.
        demands: of others in the last two windows, as :attr:`Window.demand`.
        glimpsed: the same in the window that has begun, too short to learn from; 0 where it is little.
        trained_s, steps: of the node, at the last look.
        duty: that was told after the last step. share: of time to train, that it came from.
    """

    slowdown: Slowdown = field(default_factory=Slowdown)
    pace: Pace = field(default_factory=Pace)
    rhythm: Rhythm = field(default_factory=Rhythm)
    demands: tuple[float, float] = (0.0, 0.0)
    glimpsed: float = 0.0
    marks: Marks | None = None
    trained_s: float = 0.0
    steps: int = 0
    duty: float = 1.0
    share: float = 1.0

    @property
    def demand(self) -> float:
        """What others are expected to want until the next look: who was busy a moment ago may be so again."""
        return max(*self.demands, self.glimpsed)


class Learned(Section):
    """Keep the slowdown of the owner's other work below a target.

    Attributes:
        target_slowdown: 0.05 lets a job that takes 100 s alone take 105 s.
        leave_gb: of memory, on the graphics card or else of the machine, that stays free.
    """

    name: ClassVar[str] = "learned"
    sensors: ClassVar[tuple[str, ...]] = ("others", "memory", "gpu")
    memory: ClassVar[type[Any] | None] = Knowledge
    target_slowdown: Annotated[float, Field(gt=0, le=1)] = 0.05
    leave_gb: Annotated[float, Field(ge=0)] = 1.0

    def judge(self, seen: Observation, state: Knowledge | None) -> tuple[Wish, Knowledge]:
        """Learn from what happened since the last look, then choose duty and micro-batch."""
        known = _learn(state or Knowledge(), seen)
        share, reason = self._share(known, seen)
        if state is not None and state.steps == seen.node.steps:
            told_duty = _shortened(known, share)  # asked again after the same step: perhaps in a pause
        else:
            told_duty, rhythm = known.rhythm.after(seen.node.trained_s - known.trained_s, share)
            known = replace(known, rhythm=rhythm, duty=told_duty, share=share)
        known = replace(known, trained_s=seen.node.trained_s, steps=seen.node.steps)
        micro_batch_max, room = self._micro_batch(known.pace, seen)
        if micro_batch_max == 0:
            return Wish(False, f"{room}: not one example fits"), known
        if micro_batch_max is not None:
            reason = f"{reason}; {room}: {micro_batch_max} examples at once"
        return Wish(True, reason, duty=told_duty, micro_batch_max=micro_batch_max), known

    def _share(self, known: Knowledge, seen: Observation) -> tuple[float, str]:
        """The share of time to train, and why."""
        if known.demand < DEMAND_LEAST:
            return 1.0, _wanted(known.demand)
        expected, at_most = known.slowdown.of_full_work(known.demand)
        late = known.slowdown.of_late
        room = 2 * (self.target_slowdown - late)  # half of the target is left alone: the model may err by as much
        aim = min(max(room, AIM_LEAST * self.target_slowdown), self.target_slowdown)
        share = max(DUTY_LEAST, known.slowdown.duty_for(aim, known.demand))
        told = (
            f"{_wanted(known.demand)}; full work would slow them by {expected:.1%} "
            f"(at most {at_most:.1%}), the last minute did by {late:.1%}, the target is "
            f"{self.target_slowdown:.0%}: training {share:.0%} of the time"
        )
        if seen.others_wait_s is None:
            told += f" (not measured: {seen.why_not('others_wait_s')})"
        return share, told

    def _micro_batch(self, pace: Pace, seen: Observation) -> tuple[int | None, str]:
        """The most examples at once that leave others their memory; None where twice the present number would."""
        now, context = seen.node.micro_batch, seen.node.context
        held = _held(seen)
        if held is None or now < 1:
            return None, ""
        ours_bytes, free_bytes, place = held
        room_gb = (ours_bytes + free_bytes) / GB - self.leave_gb
        fits = largest_that_fits(pace, context, room_gb, at_most=2 * now)
        if fits == 2 * now:
            return None, ""
        return fits, f"{free_bytes / GB:.1f} GB of {place} are free, {self.leave_gb:.1f} GB are to be left"


def _wanted(demand: float) -> str:
    over = f", for {demand:.1f} times what it has" if demand >= 1.05 else ""
    return f"others want {min(1.0, demand):.0%} of the machine{over}"


def _shortened(known: Knowledge, share: float) -> float:
    """The duty of the last step, with a pause that is as much shorter as the share of time to train has grown."""
    if share <= known.share or known.share >= 1:
        return known.duty
    rest = (1 / share - 1) / (1 / known.share - 1)
    return 1 / (1 + (1 / known.duty - 1) * rest)


def _learn(known: Knowledge, seen: Observation) -> Knowledge:
    """All three models after this look."""
    node = seen.node
    if node.steps > known.steps:
        known = replace(known, pace=known.pace.see(node.step_s, node.micro_batch, node.context, known.demand))
        held = _held(seen)
        if held is not None:
            known = replace(known, pace=known.pace.see_memory(held[0], node.micro_batch, node.context))
    if node.steps < known.steps or node.trained_s < known.trained_s:  # another process wrote this down
        known = replace(known, marks=None, trained_s=node.trained_s, steps=node.steps, rhythm=Rhythm())
    if not seen.is_fresh("others"):
        return known  # counters of two moments make no window: a step's waiting would be blamed on the pause after it
    now = Marks(seen.clock_s, node.trained_s, seen.others_cpu_s, seen.others_wait_s)
    before = known.marks
    if before is None or now.clock_s < before.clock_s:
        return replace(known, marks=now)
    wall_s = now.clock_s - before.clock_s
    if wall_s <= 0 or now.cpu_s is None or before.cpu_s is None:
        return known if now.cpu_s is not None else replace(known, marks=now)
    waited = None if now.wait_s is None or before.wait_s is None else max(0.0, now.wait_s - before.wait_s)
    cpu_s = max(0.0, now.cpu_s - before.cpu_s)
    window = Window(wall_s, max(0.0, now.trained_s - before.trained_s), cpu_s, waited or 0.0, seen.cpus or 1)
    demand = window.demand if window.is_whole else min(1.0, window.demand)
    if wall_s < WINDOW_LEAST_S:
        return replace(known, glimpsed=demand if demand >= GLIMPSE_LEAST else 0.0)
    learned = known.slowdown if waited is None else known.slowdown.see(window)
    return replace(known, marks=now, demands=(known.demands[-1], demand), glimpsed=0.0, slowdown=learned)


def _held(seen: Observation) -> tuple[int, int, str] | None:
    """Bytes that the node holds, bytes that are free, and where: on the graphics card if it holds any there."""
    for gpu in seen.gpus or ():
        if gpu.ours_bytes and gpu.used_bytes is not None and gpu.total_bytes is not None:
            return gpu.ours_bytes, gpu.total_bytes - gpu.used_bytes, f"GPU {gpu.index}"
    if seen.node.ram_bytes is not None and seen.ram_free_bytes is not None:
        return seen.node.ram_bytes, seen.ram_free_bytes, "memory"
    return None
