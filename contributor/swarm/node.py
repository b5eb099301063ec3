"""What the sidecars around a node, and who asks them, need to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from barnraise.identity import Identity
from barnraise.protocol import RunInfo
from barnraise.swarm.addresses import ADDRESSES_MAX
from contributor.events import NodeEvent, Notice
from contributor.folder import NodeFolder
from contributor.interrupt import Interrupt
from contributor.swarm.choice import SwarmChoice
from contributor.swarm.memory import SwarmMemory
from contributor.swarm.status import SwarmTally
from contributor.whereabouts import Whereabouts

__all__ = ["SwarmNode"]


@dataclass(frozen=True)
class SwarmNode:
    """A node that takes part in the swarm.

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
