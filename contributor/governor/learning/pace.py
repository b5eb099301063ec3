"""Step time and memory of the node against micro-batch, context, and what else the machine does.

Both are straight lines after a logarithm is taken where growth is by factors: a step of m examples takes
exp(w0 + w1 log m + w2 log T + w3 demand) seconds, and m examples of T tokens hold w0 + w1 m T gigabytes.

m  examples that go through the model at once
T  tokens of an example
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from contributor.governor.learning.regression import Belief, Estimate, prior

__all__ = ["Pace", "largest_that_fits"]

GB = 1e9
KILO_TOKENS = 1e3
# Before the first step: time in proportion to tokens, some seconds or less; a gigabyte and 10 MB for 1,000 tokens.
TIME = prior((0.0, 1.0, 1.0, 0.5), (4.0, 0.5, 0.5, 1.0), noise=0.1, memory=0.995)
MEMORY = prior((1.0, 0.01), (4.0, 0.1), noise=0.1, memory=0.995)


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of the node's own steps.

    Attributes:
        time: of log seconds. memory: of gigabytes. seen: steps so far.
    """

    time: Belief = TIME
    memory: Belief = MEMORY
    seen: int = 0

    def see(self, step_s: float, micro_batch: int, context: int, demand: float) -> Pace:
        """After a step that took so long while the others wanted this share of the machine."""
        if step_s <= 0 or micro_batch < 1:
            return self
        time = self.time.see(_time_x(micro_batch, context, demand), math.log(step_s))
        return replace(self, time=time, seen=self.seen + 1)

    def see_memory(self, held_bytes: int, micro_batch: int, context: int) -> Pace:
        """After a look at what the node holds."""
        if micro_batch < 1:
            return self
        return replace(self, memory=self.memory.see(_memory_x(micro_batch, context), held_bytes / GB))

    def step_s(self, micro_batch: int, context: int, demand: float) -> float:
        """How long a step will take, in the middle of the distribution."""
        return math.exp(min(50.0, self.time.estimate(_time_x(micro_batch, context, demand)).mean))

    def memory_gb(self, micro_batch: int, context: int) -> Estimate:
        """How much memory a micro-batch will need, all else that the node holds included."""
        return self.memory.estimate(_memory_x(micro_batch, context))


def largest_that_fits(pace: Pace, context: int, room_gb: float, *, at_most: int) -> int:
    """The largest of at_most, its half, its quarter .. that is safely below ``room_gb``; 0 if not even 1 is."""
    micro_batch = at_most
    while micro_batch >= 1 and pace.memory_gb(micro_batch, context).high > room_gb:
        micro_batch //= 2
    return micro_batch


def _time_x(micro_batch: int, context: int, demand: float) -> tuple[float, ...]:
    return 1.0, math.log(micro_batch), math.log(context), demand


def _memory_x(micro_batch: int, context: int) -> tuple[float, ...]:
    return 1.0, micro_batch * context / KILO_TOKENS
