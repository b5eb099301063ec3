"""The sidecars around a working node: started with it, ended with it, and never waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from barnraise.identity import Identity
from barnraise.protocol import RunInfo
from barnraise.swarm.addresses import ADDRESSES_MAX
from barnraise.swarm.process import Sidecar
from contributor.events import NodeEvent, Notice
from contributor.state import NodeFolder
from contributor.swarm.choice import SwarmChoice, listen_at
from contributor.swarm.discovery import Discovery, SearchedFor, discovering
from contributor.swarm.memory import SwarmMemory
from contributor.swarm.status import SwarmTally
from contributor.whereabouts import Whereabouts

__all__ = ["Around", "Swarm", "swarming"]


@dataclass(frozen=True)
class Swarm:
    """What of the swarm there is; each may be None, or not ready, at any time.

    Attributes:
        peers: the sidecar of the run's open swarm.
        blobs: the same one, where it gets and gives blobs.
        team: that of the owner's team.
        tally: what came of it, for the owner.
        tell: gets every event of the node.
    """

    peers: Sidecar | None = None
    blobs: Sidecar | None = None
    team: Sidecar | None = None
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
    """

    choice: SwarmChoice
    info: RunInfo
    where: Whereabouts
    folder: NodeFolder
    identity: Identity
    name: str
    report: Callable[[NodeEvent], None]
    tally: SwarmTally

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
        yield Swarm(peers, blobs, None, around.tally, _discovery(around, peers, stack))


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
    if around.choice.blobs:
        wanted["blobs"] = {"store": str(around.folder.cache), "into": str(around.folder.root / "from-nodes")}
    return wanted
