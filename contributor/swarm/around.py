"""The sidecars around a working node: started with it, ended with it, and never waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from barnraise.clock import now_ms
from barnraise.identity import Identity
from barnraise.protocol import RunInfo
from barnraise.swarm.addresses import ADDRESSES_MAX
from barnraise.swarm.process import Sidecar
from barnraise.swarm.team_key import TeamKey
from contributor.events import NodeEvent, Notice
from contributor.folder import NodeFolder
from contributor.interrupt import Interrupt
from contributor.swarm.choice import SwarmChoice, TeamChoice, listen_at
from contributor.swarm.discovery import Discovery, SearchedFor, discovering
from contributor.swarm.memory import SwarmMemory
from contributor.swarm.status import SwarmTally
from contributor.swarm.team_exchange import SidecarExchange, TeamMemory
from contributor.swarm.teamwork import Teamwork
from contributor.whereabouts import Whereabouts

__all__ = ["Around", "Swarm", "swarming"]


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


@dataclass(frozen=True)
class Around:
    """What the sidecars need to know of their node.

    Attributes:
        where: the coordinator is; moved when it is found elsewhere.
        folder: of the node, locked by the caller; holds log, identity and what is fetched.
        identity, name: of the contributor.
        report: gets what the owner should know: what does not work, and what is used instead.
        tally: told which sidecar does what.
        interrupt: what its owner wants at once.
    """

    choice: SwarmChoice
    info: RunInfo
    where: Whereabouts
    folder: NodeFolder
    identity: Identity
    name: str
    report: Callable[[NodeEvent], None]
    tally: SwarmTally
    interrupt: Interrupt = field(default_factory=Interrupt)

    def say(self, sentence: str) -> None:
        """Tell the owner."""
        self.report(Notice(sentence))

    @property
    def bootstrap(self) -> tuple[str, ...]:
        """Whom to begin with: those that the owner names, then those that the run names, then those of before."""
        known = self.info.swarm.bootstrap if self.info.swarm is not None else ()
        before = SwarmMemory.load(self.folder.swarm).bootstrap
        return tuple(dict.fromkeys((*self.choice.bootstrap, *known, *before)))[:ADDRESSES_MAX]


@contextmanager
def swarming(around: Around) -> Iterator[Swarm]:
    """The swarm while the block runs."""
    with ExitStack() as stack:
        peers = _open_swarm(around, stack) if around.choice.open_swarm else None
        blobs = peers if around.choice.blobs else None
        team = _team(around, around.choice.team, peers, stack) if around.choice.team is not None else None
        yield Swarm(peers, blobs, team, around.tally, _discovery(around, peers, stack))


def _team(around: Around, chosen: TeamChoice, peers: Sidecar | None, stack: ExitStack) -> Teamwork:
    """Averaging with a team, its sidecar begun; members are looked for in the open swarm where there is one.

    Raises:
        ConfigError: the file of the key holds none, or others can read it.
    """
    info, member = around.info, around.identity.public
    secrets = TeamKey.load(chosen.key).secrets_for(info.name, chosen.name)
    alike = replace(around.choice, listen=chosen.listen)

    def settings() -> Mapping[str, Any]:
        remembered = TeamMemory.load(exchange.memory).peers
        host = {
            "listen": list(listen_at(alike, around.where.url)),
            "bootstrap": list(dict.fromkeys((*chosen.peers, *remembered)))[:ADDRESSES_MAX],
            "identity": str(around.folder.root / "team.key"),
        }
        return {"host": host, "member": member, "access": secrets.access.hex(), "words": secrets.words.hex()}

    sidecar = Sidecar("team", settings, around.folder.root / "team.log", around.say)
    exchange = SidecarExchange(sidecar, secrets, around.folder.root, member, around.interrupt, around.say, peers)
    around.tally.follow("team", sidecar)
    around.tally.note("team", name=chosen.name)
    stack.callback(sidecar.stop)
    exchange.start()
    return Teamwork(info.name, around.identity, exchange, now_ms, chosen.wait_s, around.tally)


def _discovery(around: Around, peers: Sidecar | None, stack: ExitStack) -> Callable[[NodeEvent], None]:
    """Begin it, if it is wanted; what gets the node's events."""
    if peers is None or not around.choice.discovery:
        return lambda _event: None
    work = SearchedFor(
        around.info,
        around.identity,
        around.name,
        around.folder,
        around.where,
        around.bootstrap,
        around.report,
        around.tally,
    )
    discovery = Discovery(work, peers)
    stack.enter_context(discovering(discovery))
    return discovery.tell


def _open_swarm(around: Around, stack: ExitStack) -> Sidecar:
    """The sidecar of the run's open swarm, begun."""
    peers = Sidecar("peers", lambda: _settings(around), around.folder.root / "swarm.log", around.say)
    for part in ("discovery", "blobs"):
        if part in around.choice.parts:
            around.tally.follow(part, peers)
    stack.callback(peers.stop)
    peers.start()
    return peers


def _settings(around: Around) -> Mapping[str, Any]:
    """What the sidecar is told when it starts; each part that is wanted has its own."""
    host = {
        "listen": list(listen_at(around.choice, around.where.url)),
        "bootstrap": list(around.bootstrap),
        "identity": str(around.folder.root / "swarm.key"),
    }
    wanted: dict[str, Any] = {"host": host, "run": around.info.name, "coordinator": around.info.coordinator_key}
    if around.choice.discovery:
        wanted["discovery"] = {}
    if around.choice.team is not None:
        wanted["meeting"] = {}
    if around.choice.blobs:
        wanted["blobs"] = {"store": str(around.folder.cache), "into": str(around.folder.root / "from-nodes")}
    return wanted
