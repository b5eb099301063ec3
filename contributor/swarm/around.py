"""The sidecars around a working node: started with it, ended with it, and never waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from barnraise.clock import now_ms
from barnraise.swarm.addresses import ADDRESSES_MAX
from barnraise.swarm.process import Sidecar
from barnraise.swarm.team_key import TeamKey
from contributor.events import NodeEvent
from contributor.swarm.choice import TeamChoice, listen_at
from contributor.swarm.discovery import Discovery, discovering
from contributor.swarm.memory import TeamMemory
from contributor.swarm.node import SwarmNode
from contributor.swarm.status import SwarmTally
from contributor.swarm.team_exchange import SidecarExchange
from contributor.swarm.teamwork import Teamwork

__all__ = ["Swarm", "swarming"]


@dataclass(frozen=True)
class Swarm:
    """What of the swarm there is; each may be None, or not ready, at any time.

    Attributes:
        peers: the sidecar of the run's open swarm.
        blobs: the same one, where it gets and gives blobs.
        team: averaging with the owner's team.
        tally: what came of it, for the owner.
        tell: gets every event of the node.
    """

    peers: Sidecar | None = None
    blobs: Sidecar | None = None
    team: Teamwork | None = None
    tally: SwarmTally = field(default_factory=SwarmTally)
    tell: Callable[[NodeEvent], None] = lambda _event: None


@contextmanager
def swarming(node: SwarmNode) -> Iterator[Swarm]:
    """The swarm while the block runs."""
    with ExitStack() as stack:
        peers = _open_swarm(node, stack) if node.choice.open_swarm else None
        blobs = peers if node.choice.blobs else None
        team = _team(node, node.choice.team, peers, stack) if node.choice.team is not None else None
        yield Swarm(peers, blobs, team, node.tally, _discovery(node, peers, stack))


def _team(node: SwarmNode, chosen: TeamChoice, peers: Sidecar | None, stack: ExitStack) -> Teamwork:
    """Averaging with a team, its sidecar begun; members are looked for in the open swarm where there is one.

    Raises:
        ConfigError: the file of the key holds none, or others can read it.
    """
    info, member = node.info, node.identity.public
    secrets = TeamKey.load(chosen.key).secrets_for(info.name, chosen.name)

    def settings() -> Mapping[str, Any]:
        remembered = TeamMemory.load(exchange.memory).peers
        members = tuple(dict.fromkeys((*chosen.peers, *remembered)))[:ADDRESSES_MAX]
        host = _host(node, chosen.listen, members, "team.key")
        return {"host": host, "member": member, "access": secrets.access.hex(), "words": secrets.words.hex()}

    sidecar = Sidecar("team", settings, node.folder.root / "team.log", node.say)
    exchange = SidecarExchange(sidecar, secrets, node.folder.root, member, node.interrupt, node.say, peers)
    node.tally.follow("team", sidecar)
    node.tally.note("team", name=chosen.name)
    stack.callback(sidecar.stop)
    exchange.start()
    return Teamwork(info.name, node.identity, exchange, now_ms, chosen.wait_s, node.tally)


def _discovery(node: SwarmNode, peers: Sidecar | None, stack: ExitStack) -> Callable[[NodeEvent], None]:
    """Begin it, if it is wanted; what gets the node's events."""
    if peers is None or not node.choice.discovery:
        return lambda _event: None
    discovery = Discovery(node, peers)
    stack.enter_context(discovering(discovery))
    return discovery.tell


def _open_swarm(node: SwarmNode, stack: ExitStack) -> Sidecar:
    """The sidecar of the run's open swarm, begun."""
    peers = Sidecar("peers", lambda: _settings(node), node.folder.root / "swarm.log", node.say)
    for part in ("discovery", "blobs"):
        if part in node.choice.parts:
            node.tally.follow(part, peers)
    stack.callback(peers.stop)
    peers.start()
    return peers


def _settings(node: SwarmNode) -> Mapping[str, Any]:
    """What the sidecar is told when it starts; each part that is wanted has its own."""
    host = _host(node, node.choice.listen, node.bootstrap, "swarm.key")
    wanted: dict[str, Any] = {"host": host, "run": node.info.name, "coordinator": node.info.coordinator_key}
    if node.choice.discovery:
        wanted["discovery"] = {}
    if node.choice.team is not None:
        wanted["meeting"] = {}
    if node.choice.blobs:
        wanted["blobs"] = {"store": str(node.folder.cache), "into": str(node.folder.root / "from-nodes")}
    return wanted


def _host(node: SwarmNode, listen: tuple[str, ...], bootstrap: tuple[str, ...], identity: str) -> Mapping[str, Any]:
    """Where a sidecar listens, whom it begins with, and the file that keeps its id."""
    return {
        "listen": list(listen_at(listen, node.where.url)),
        "bootstrap": list(bootstrap),
        "identity": str(node.folder.root / identity),
    }
