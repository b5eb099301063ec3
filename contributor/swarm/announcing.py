"""What a node tells others of its progress, and when. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from barnraise import __version__
from barnraise.swarm.records import PROGRESS_FOR_MS, NodeProgress
from contributor.status import NodeStatus

__all__ = ["AGAIN_MS", "AT_MOST_MS", "Announcer", "is_due"]

AT_MOST_MS = 15_000
"""Not more often than this, whatever happens."""

AGAIN_MS = 60_000
"""Also when nothing happens, for a record ends after three minutes."""

TOLD = frozenset(get_args(NodeProgress.model_fields["doing"].annotation))


@dataclass(frozen=True, slots=True)
class Announcer:
    """Who announces: the name that others see, in which run."""

    run: str
    name: str

    def progress(self, status: NodeStatus, peer: str, now_ms: int) -> NodeProgress:
        """The record of this moment, of the host ``peer``."""
        told = {
            "run": self.run,
            "name": self.name,
            "peer": peer,
            "barnraise": __version__,
            "doing": status.doing if status.doing in TOLD else "stopped",
            "round": status.round,
            "step": status.step,
            "steps": status.steps,
            "at_ms": now_ms,
            "expires_at_ms": now_ms + PROGRESS_FOR_MS,
        }
        return NodeProgress.model_validate(told)


def is_due(last: NodeProgress | None, now: NodeProgress) -> bool:
    """Whether ``now`` is worth saying after ``last``; None where nothing was said yet, or to another host."""
    if last is None or last.peer != now.peer:
        return True
    age_ms = now.at_ms - last.at_ms
    if 0 <= age_ms < AT_MOST_MS:
        return False
    moved = any(getattr(last, field) != getattr(now, field) for field in ("doing", "round", "step", "steps"))
    return moved or not 0 <= age_ms < AGAIN_MS
