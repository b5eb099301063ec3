"""Where a coordinator went that was at some URL once, as the nodes of this user remember."""

from __future__ import annotations

from pathlib import Path

from contributor.control.finding import known_nodes
from contributor.folder import NodeFolder
from contributor.swarm.memory import SwarmMemory

__all__ = ["forwarded"]


def forwarded(url: str, home: Path, key: str) -> str | None:
    """The URL to try where ``url`` is silent; None where nobody remembers.

    Args:
        home: folder that holds the folders of nodes. key: public key of the contributor.
    """
    for node in known_nodes(home):
        if key.startswith(node.key) and node.url != url and url in SwarmMemory.load(NodeFolder(node.folder).swarm).left:
            return node.url
    return None
