"""What a node remembers of the swarm and of its team, each in a file of its own in the node's folder.

Losing one costs a while, or an address to type, so a damaged one begins anew.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field

from barnraise.errors import DiskFullError, MessageError
from barnraise.message import Message, Millis
from barnraise.releases.durable import replace_file
from barnraise.swarm.addresses import ADDRESSES_MAX, PeerAddress
from barnraise.swarm.records import Beacon, GatewayUrl

__all__ = ["SwarmMemory", "TeamMemory"]

LEFT_MAX = 16


class _Memory(Message):
    @classmethod
    def load(cls, path: Path) -> Self:
        """What is at ``path``; nothing where that is missing or damaged."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValueError, MessageError):
            return cls()

    def keep(self, path: Path) -> None:
        """Write it there; a full disk may cost it."""
        with suppress(DiskFullError):
            replace_file(path, self.canonical())


class SwarmMemory(_Memory):
    """Hosts to begin with, the newest beacon's time, and where the coordinator was.

    Attributes:
        bootstrap: hosts that a beacon named. beacon_at_ms: when that was signed; older ones are replays.
        left: URLs that the coordinator is not at any more, oldest first.
    """

    kind: ClassVar[str] = "node-swarm"
    bootstrap: Annotated[tuple[PeerAddress, ...], Field(max_length=ADDRESSES_MAX)] = ()
    beacon_at_ms: Millis = 0
    left: Annotated[tuple[GatewayUrl, ...], Field(max_length=LEFT_MAX)] = ()

    def with_beacon(self, beacon: Beacon) -> SwarmMemory:
        """One that holds was seen."""
        if beacon.at_ms < self.beacon_at_ms:
            return self
        return self.model_copy(update={"bootstrap": beacon.bootstrap, "beacon_at_ms": beacon.at_ms})

    def with_move(self, before: str, now: str) -> SwarmMemory:
        """The coordinator is at ``now``."""
        left = [url for url in self.left if url not in {before, now}] + [before]
        return self.model_copy(update={"left": tuple(left[-LEFT_MAX:])})


class TeamMemory(_Memory):
    """Where members of the team were reached last."""

    kind: ClassVar[str] = "node-team"
    peers: Annotated[tuple[PeerAddress, ...], Field(max_length=ADDRESSES_MAX)] = ()
