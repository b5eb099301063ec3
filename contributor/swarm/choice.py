"""What the owner of a node wants of the swarm. Nothing, unless asked: others see the address of who takes part."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["TEAM_WAIT_S", "SwarmChoice", "TeamChoice", "listen_at"]

TEAM_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class TeamChoice:
    """A team.

    Attributes:
        key: file of the key that its members share.
        peers: multiaddresses of members to begin with. listen: to listen at, for members alone.
        wait_s: how long to wait for members who still train, once one's own unit is done.
    """

    name: str
    key: Path
    peers: tuple[str, ...] = ()
    listen: tuple[str, ...] = ()
    wait_s: float = TEAM_WAIT_S


@dataclass(frozen=True, slots=True)
class SwarmChoice:
    """Which of the three are wanted.

    Attributes:
        discovery: look for a coordinator that has moved, and tell others how far this node is.
        blobs: fetch releases from other nodes, and give them to others.
        team: to average updates with.
        listen: multiaddresses to listen at; where the coordinator is decides when there are none.
        bootstrap: multiaddresses of nodes to begin with, beside those that the run names.
    """

    discovery: bool = False
    blobs: bool = False
    team: TeamChoice | None = None
    listen: tuple[str, ...] = ()
    bootstrap: tuple[str, ...] = ()

    @property
    def open_swarm(self) -> bool:
        """Whether to take part in the run's open swarm."""
        return self.discovery or self.blobs

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of those that are wanted."""
        wanted = {"discovery": self.discovery, "blobs": self.blobs, "team": self.team is not None}
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)


def listen_at(chosen: tuple[str, ...], url: str) -> tuple[str, ...]:
    """Where to listen: as ``chosen``, else on every interface, or only on this machine if the coordinator is on it."""
    if chosen:
        return chosen
    host = urlsplit(url).hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    return ("/ip4/127.0.0.1/tcp/0",) if here else ("/ip4/0.0.0.0/tcp/0",)
