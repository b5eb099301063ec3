"""What a policy wants of the node, and how the wishes of many become one.

A wish only ever takes away: the node works as hard as it can, and each wish holds it back in some way. So several
wishes combine field by field to the most careful one, in whatever order they come, and a policy that is loaded never
makes the node bolder than it was without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

__all__ = ["Advice", "Unrestricted", "Wish", "combine"]

N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Wish:
    """How the node should work until it looks again.

    Attributes:
        work: train at all; False asks for a checkpoint and a wait.
        reason: one sentence with the numbers that led here.
        duty: share of wall time to train, in (0, 1]. Below 1 the node pauses after each step.
        micro_batch_max: examples that may go through the model at once; None is no limit.
        up_bytes_per_s: of sending; None is no limit.
        down_bytes_per_s: of fetching; None is no limit.
        transfer: send and fetch at all. Training goes on without.
        look_again_s: after which the wish is out of date, for a node that waits.
    """

    work: bool
    reason: str
    duty: float = 1.0
    micro_batch_max: int | None = None
    up_bytes_per_s: float | None = None
    down_bytes_per_s: float | None = None
    transfer: bool = True
    look_again_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.reason:
            raise ValueError("a wish has a reason")
        if not 0 < self.duty <= 1:
            raise ValueError(f"duty is {self.duty}, a share of the wall time in (0, 1] was expected")
        if self.micro_batch_max is not None and self.micro_batch_max < 1:
            raise ValueError(f"micro_batch_max is {self.micro_batch_max}, at least 1 was expected")
        for name in ("up_bytes_per_s", "down_bytes_per_s"):
            rate = getattr(self, name)
            if rate is not None and not (rate > 0 and math.isfinite(rate)):
                raise ValueError(f"{name} is {rate}, a positive number was expected; transfer=False is none at all")
        if not (self.look_again_s > 0 and math.isfinite(self.look_again_s)):
            raise ValueError(f"look_again_s is {self.look_again_s}, a positive number was expected")

    @property
    def limits(self) -> bool:
        """Whether it holds the node back in any way."""
        limited = (self.micro_batch_max, self.up_bytes_per_s, self.down_bytes_per_s) != (None, None, None)
        return limited or not self.work or self.duty < 1 or not self.transfer


def combine(wishes: Iterable[Wish]) -> Wish:
    """The most careful one of each field; its reason is the reasons of those that limit.

    A node that does not work is told only why it does not. Order and repetition change nothing.
    """
    parts = tuple(wishes)
    if not parts:
        return Wish(True, "no policy is loaded")
    work = all(part.work for part in parts)
    telling = [part for part in parts if not part.work] or [part for part in parts if part.limits]
    free = parts[0].reason if len(set(parts)) == 1 else f"none of {len(set(parts))} policies holds anything back"
    return Wish(
        work=work,
        reason="; ".join(sorted({part.reason for part in telling})) or free,
        duty=min(part.duty for part in parts),
        micro_batch_max=_least([part.micro_batch_max for part in parts]),
        up_bytes_per_s=_least([part.up_bytes_per_s for part in parts]),
        down_bytes_per_s=_least([part.down_bytes_per_s for part in parts]),
        transfer=all(part.transfer for part in parts),
        look_again_s=min(part.look_again_s for part in parts),
    )


def _least(limits: list[N | None]) -> N | None:
    """The smallest of the limits that there are."""
    return min((limit for limit in limits if limit is not None), default=None)


class Advice(Protocol):
    """Whom the node asks at every step boundary, and while it waits."""

    def wish(self) -> Wish:
        """What the node should do now."""

    def is_changed(self) -> bool:
        """Whether the owner has changed the policies since the last wish. Costs next to nothing."""

    def stepped(self, step_s: float, micro_batch: int) -> None:
        """A step has just ended that took ``step_s`` seconds with ``micro_batch`` examples at once."""


class Unrestricted:
    """Advice for a machine that has nothing else to do."""

    def wish(self) -> Wish:
        return Wish(True, "no policy is loaded")

    def is_changed(self) -> bool:
        return False

    def stepped(self, step_s: float, micro_batch: int) -> None:
        """Nothing is learned from steps."""
