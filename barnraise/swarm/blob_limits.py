"""How much of blobs may go between nodes: what the owner allows, and what is worth the other's time.

Whoever takes a blob leaves a node that gives less than ``SLOWEST_BYTES_PER_S``, after a little patience. So a
node gives to no more at a time than it can keep to that with, and one whose owner allows less gives only
blobs that are small enough to be through within that patience.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from barnraise.swarm.blob_choice import PATIENCE_S, SLOWEST_PEER_BYTES_PER_S, Has

__all__ = ["GIVING_MAX", "NOTHING", "Limits", "gives", "takers"]

GIVING_MAX = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """What a node's owner allows at the moment.

    Attributes:
        up_bytes_per_s, down_bytes_per_s: of giving and of fetching; None for as fast as it goes.
        paused: nothing is given at all.
    """

    up_bytes_per_s: float | None = None
    down_bytes_per_s: float | None = None
    paused: bool = False


NOTHING = Limits(paused=True)
"""Before the owner has said anything, and when it has not for a while."""


def takers(size_bytes: int, bytes_per_s: float | None) -> int:
    """To how many at a time a blob can go, all of whom get it in the time that they wait for it."""
    if bytes_per_s is None or size_bytes == 0:
        return GIVING_MAX
    return min(GIVING_MAX, math.floor(bytes_per_s * (PATIENCE_S / size_bytes + 1 / SLOWEST_PEER_BYTES_PER_S)))


def gives(size_bytes: int, giving: int, limits: Limits) -> Has:
    """What to say about a blob that is there.

    Args:
        giving: to so many something is given now.
    """
    most = 0 if limits.paused else takers(size_bytes, limits.up_bytes_per_s)
    if not most:
        return Has.NOT
    return Has.WHOLE if giving < most else Has.BUSY
