"""What a node's sidecar may give to other nodes, told every few seconds; and what it gave and got, asked.

The owner's policies decide how fast anything goes (``bandwidth``), and are told of every byte that did: those of
a sidecar count as the node's. A node that is paused or rests, or whose quota is used up, gives nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from barnraise.errors import SwarmError
from barnraise.swarm.blob_limits import Limits
from barnraise.swarm.process import Sidecar
from contributor.governor.wish import Wish
from contributor.swarm.status import SwarmTally

__all__ = ["Giving", "Seen", "allowed", "giving"]

LOOK_S = 2.0
ASK_S = 5.0
HOLD_S = 30.0  # of what a sidecar is allowed: should nobody tell it any more, it gives nothing


@dataclass(frozen=True, slots=True)
class Seen:
    """What a sidecar had given and taken when it was last asked; it counts from its own ``start``, which has a name."""

    start: str = ""
    given_bytes: int = 0
    taken_bytes: int = 0
    wasted_bytes: int = 0


def allowed(wish: Wish, *, paused: bool) -> Limits:
    """What goes between nodes while the policies wish this: nothing goes up from a node that rests or may not send."""
    return Limits(wish.up_bytes_per_s, wish.down_bytes_per_s, paused or not (wish.work and wish.transfer))


@dataclass(frozen=True)
class Giving:
    """One node's sidecar for blobs, and who decides about it.

    Attributes:
        limits: what its owner wants at the moment.
        moved: told how many more bytes were sent, and received in vain: those of whole blobs are the pull's to tell.
    """

    sidecar: Sidecar
    limits: Callable[[], Limits]
    moved: Callable[[int, int], None]
    tally: SwarmTally

    def look(self, seen: Seen) -> Seen:
        """Pass limits on, and take in what happened since ``seen``, which is handed back if nobody answers."""
        try:
            self.sidecar.ask("limit", ASK_S, **asdict(self.limits()), for_s=HOLD_S)
            counts = self.sidecar.ask("blobs", ASK_S)
        except SwarmError:
            return seen  # how it is, and why, is in its state
        now = Seen(*(counts[name] for name in ("start", "given_bytes", "taken_bytes", "wasted_bytes")))
        since = seen if seen.start == now.start else Seen()
        given, wasted = now.given_bytes - since.given_bytes, now.wasted_bytes - since.wasted_bytes
        if given or wasted:
            self.moved(given, wasted)
        self.tally.add("blobs", to_peers_bytes=given, from_peers_bytes=now.taken_bytes - since.taken_bytes)
        self.tally.note("blobs", last=counts["last"])
        return now


@contextmanager
def giving(blobs: Giving) -> Iterator[None]:
    """Look every few seconds while the block runs, and once when it ends."""
    over = threading.Event()

    def keep_looking() -> None:
        seen = Seen()
        while not over.wait(LOOK_S):
            seen = blobs.look(seen)
        blobs.look(seen)

    thread = threading.Thread(target=keep_looking, name="swarm-giving", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(3 * ASK_S)
