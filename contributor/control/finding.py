"""The nodes on this machine, and which of them a command means. One node needs no option."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from barnraise.errors import NoNodeError, UsageError

__all__ = ["FoundNode", "choose", "known_nodes"]

_KEY = re.compile(r"[0-9a-f]{8}\Z")


@dataclass(frozen=True, slots=True)
class FoundNode:
    """A node's folder.

    Attributes:
        key: first 8 digits of its public key. url: of its coordinator; "" unknown.
        process: that works in it now; None when nobody does.
    """

    folder: Path
    run: str
    key: str
    url: str
    process: str | None

    def line(self) -> str:
        state = f"running, process {self.process}" if self.process else "not running"
        return f"--run {self.run} --key {self.key}  {state}"


def known_nodes(home: Path) -> list[FoundNode]:
    """Every node that has its folder below ``home``, by run and key."""
    from contributor.control.asking import holder

    found = []
    for folder in sorted(home.glob("*/*")):
        if _KEY.match(folder.name) and (folder / "coordinator.url").is_file():
            url = (folder / "coordinator.url").read_text().strip()
            found.append(FoundNode(folder, folder.parent.name, folder.name, url, holder(folder)))
    return found


def choose(nodes: Sequence[FoundNode], home: Path, run: str | None, key: str | None) -> FoundNode:
    """The node that is meant: the only one, or the only one that runs.

    Args:
        run: name of its run. key: how its public key begins.

    Raises:
        NoNodeError: there is none.
        UsageError: several could be meant.
    """
    fits = [node for node in nodes if run in {None, node.run} and (key is None or key.startswith(node.key))]
    running = [node for node in fits if node.process is not None]
    for candidates in (fits, running):
        if len(candidates) == 1:
            return candidates[0]
    if fits:
        lines = "; ".join(node.line() for node in fits[:8])
        raise UsageError(f"{len(fits)} nodes are below {home}, which one? {lines}")
    asked = "".join(f" {option} {value}" for option, value in (("--run", run), ("--key", key)) if value)
    others = f"; there are: {'; '.join(node.line() for node in nodes[:8])}" if nodes else ""
    raise NoNodeError(
        f"no node{f' with{asked}' if asked else ''} was ever here (below {home}){others}. "
        "Start one with: barnraise join URL"
    )
