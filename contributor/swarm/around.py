"""The sidecars around a working node: started with it, ended with it, and never waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from barnraise.swarm.process import Sidecar
from contributor.state import NodeFolder
from contributor.swarm.choice import SwarmChoice, listen_at

__all__ = ["Swarm", "swarming"]


@dataclass(frozen=True)
class Swarm:
    """What of the swarm there is; each may be None, or not ready, at any time.

    Attributes:
        peers: the sidecar of the run's open swarm.
        team: that of the owner's team.
    """

    peers: Sidecar | None = None
    team: Sidecar | None = None


@contextmanager
def swarming(
    choice: SwarmChoice, run: str, url: str, folder: NodeFolder, say: Callable[[str], None]
) -> Iterator[Swarm]:
    """The swarm while the block runs.

    Args:
        run: its name. url: of the coordinator, as joined.
        folder: of the node, locked by the caller; holds log, identity and what is fetched.
        say: gets a sentence when something of it does not work, and what is used instead.
    """
    if not choice.open_swarm:
        yield Swarm()
        return

    def settings() -> Mapping[str, Any]:
        host = {
            "listen": list(listen_at(choice, url)),
            "bootstrap": list(choice.bootstrap),
            "identity": str(folder.root / "swarm.key"),
        }
        wanted: dict[str, Any] = {"host": host, "run": run}
        return wanted

    with ExitStack() as stack:
        peers = Sidecar("peers", settings, folder.root / "swarm.log", say)
        stack.callback(peers.stop)
        peers.start()
        yield Swarm(peers)
