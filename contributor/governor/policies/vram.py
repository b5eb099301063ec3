"""VRAM: leave so much of each graphics card's memory to the owner's programs.

A smaller micro-batch needs less. What the node holds now is taken to shrink with it in proportion, which is true of
activations and not of weights, so the rule asks again until it fits or nothing is left to make smaller.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from barnraise.sections import Section
from contributor.governor.observation import Gpu, Observation
from contributor.governor.wish import Wish, combine

__all__ = ["Vram"]

GB = 1e9


class Vram(Section):
    """Leave memory of the graphics cards to others.

    Attributes:
        leave_gb: gigabytes that stay free on every card.
    """

    name: ClassVar[str] = "vram"
    sensors: ClassVar[tuple[str, ...]] = ("gpu",)
    memory: ClassVar[type[Any] | None] = None
    leave_gb: Annotated[float, Field(ge=0)] = 1.0

    def judge(self, seen: Observation, state: None) -> tuple[Wish, None]:
        """The micro-batch that leaves enough on every card."""
        cards = [gpu for gpu in seen.gpus or () if gpu.used_bytes is not None and gpu.total_bytes is not None]
        if not cards:
            return Wish(True, f"no graphics memory to leave free: {seen.why_not('gpus')}"), state
        return combine(self._of(gpu, seen.node.micro_batch) for gpu in cards), state

    def _of(self, gpu: Gpu, micro_batch: int) -> Wish:
        assert gpu.used_bytes is not None
        assert gpu.total_bytes is not None
        free, leave, ours = gpu.total_bytes - gpu.used_bytes, self.leave_gb * GB, gpu.ours_bytes or 0
        told = f"GPU {gpu.index} has {free / GB:.1f} GB free, {self.leave_gb:.1f} GB are to be left"
        room = ours + free - leave  # that the node may hold
        if room <= 0:
            return Wish(False, told)
        if not (ours and micro_batch):
            return Wish(True, told)
        fits = int(micro_batch * room / ours)
        if fits < 1:
            return Wish(False, f"{told}: not one example fits")
        return Wish(True, f"{told}: {fits} examples at once", micro_batch_max=fits)
