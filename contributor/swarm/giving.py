"""What a node's sidecar may give to other nodes, told every few seconds; and what it gave and got, asked.

The owner's policies decide how fast anything goes up (``bandwidth``), and are told of every byte that did,
also of those that a sidecar gives: its bytes count as the node's. A node that is paused gives nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from barnraise.errors import SwarmError
from barnraise.swarm.process import Sidecar
from contributor.swarm.status import SwarmTally

__all__ = ["Giving", "Limits", "Seen", "giving"]

LOOK_S = 2.0
ASK_S = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be given now; ``up_bytes_per_s`` is None for as fast as it goes."""

    up_bytes_per_s: float | None
    paused: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What a sidecar had given and taken when it was last asked; it counts from its own start, which was the nth."""

    starts: int = 0
    given_bytes: int = 0
    taken_bytes: int = 0


@dataclass(frozen=True)
class Giving:
    """One node's sidecar for blobs, and who decides about it.

    Attributes:
        limits: what its owner wants at the moment.
        sent: told how many more bytes went up.
    """

    sidecar: Sidecar
    limits: Callable[[], Limits]
    sent: Callable[[int], None]
    tally: SwarmTally

    def look(self, seen: Seen) -> Seen:
        """Pass limits on, and take in what happened since ``seen``, which is handed back if nobody answers."""
        limits, starts = self.limits(), self.sidecar.state.starts
        try:
            self.sidecar.ask("limit", ASK_S, up_bytes_per_s=limits.up_bytes_per_s, paused=limits.paused)
            counts = self.sidecar.ask("blobs", ASK_S)
        except SwarmError:
            return seen  # how it is, and why, is in its state
        now = Seen(starts, counts["given_bytes"], counts["from_peers_bytes"])
        since = seen if seen.starts == starts else Seen()
        if given := now.given_bytes - since.given_bytes:
            self.sent(given)
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
