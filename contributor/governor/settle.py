"""The rule against flapping: stop at once, go on only after a while of quiet.

A wish not to work counts at once. A wish to work counts after it has stood for ``resume_after_s`` without a break,
whatever policies did the wishing. Duty, micro-batch and rates need no such rule: they cost nothing to change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from contributor.governor.wish import Wish

__all__ = ["Settled", "settle"]


@dataclass(frozen=True, slots=True)
class Settled:
    """Where the governor stands.

    Attributes:
        working: as the node was told last.
        quiet_since_s: monotonic, when wishing to work began again; None while it works or must not.
    """

    working: bool = True
    quiet_since_s: float | None = None


def settle(before: Settled, wish: Wish, *, now_s: float, resume_after_s: float) -> tuple[Wish, Settled]:
    """The wish that the node is told, and where that leaves the governor."""
    if not wish.work:
        return wish, Settled(working=False)
    if before.working:
        return wish, before
    since_s = now_s if before.quiet_since_s is None else before.quiet_since_s
    left_s = resume_after_s - (now_s - since_s)
    if left_s <= 0:
        return wish, Settled()
    reason = f"nothing stands against work since {now_s - since_s:.0f} s; going on in {left_s:.0f} s"
    told = replace(wish, work=False, reason=reason, look_again_s=min(wish.look_again_s, max(left_s, 0.1)))
    return told, Settled(working=False, quiet_since_s=since_s)
