"""``barnraise swarm``: who is there now, as the nodes of a run tell each other."""

from __future__ import annotations

from typing import Any

from barnraise.cli.nodes import HomeOption, KeyOption, RunNameOption, find_node
from barnraise.cli.output import JsonOption, field, print_result, table
from barnraise.clock import lasting, now_ms
from barnraise.errors import NoNodeError

__all__ = ["swarm"]


def swarm(
    run: RunNameOption = None, home: HomeOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Show who else works for a run now, and what the swarm does for this node.

    As a node with join --swarm hears it from others: signed by each of them, verified, and no
    more than a glimpse; whoever says nothing may be there all the same.

    Example: barnraise swarm
    """
    from contributor.control.asking import ask
    from contributor.folder import NodeFolder
    from contributor.swarm.status import SwarmStatus

    node = find_node(run, home, key)
    start = f"barnraise join {node.url}{NodeFolder(node.folder).join_options} --swarm"
    if node.process is None:
        raise NoNodeError(f"no node for {node.run} runs now. Start one with: {start}")
    found = SwarmStatus.from_json(ask(node.folder, "status")["status"].get("swarm"))
    if not found.words():
        raise NoNodeError(f"this node for {node.run} takes no part in the swarm. Stop it, and start it with: {start}")
    result = {"run": node.run, **found.as_json()}
    print_result("swarm", result, as_json=as_json, human="\n".join(_words(node.run, found.as_json(), found.words())))


def _words(run: str, found: dict[str, Any], parts: list[tuple[str, str]]) -> list[str]:
    lines = [f"the swarm of {run}"]
    for label, said in parts:
        lines += field(label, said)
    discovery, now = found["discovery"], now_ms()
    if discovery is None:
        return lines
    if discovery.get("newest"):
        said_ago = lasting(now - discovery["newest_at_ms"])
        lines += field("newest", f"release {discovery['newest']}, as the coordinator's beacon said {said_ago} ago")
    return [*lines, "", *_who(discovery["seen"], now)]


def _who(seen: list[dict[str, Any]], now: int) -> list[str]:
    """Everybody who was heard of, a line each."""
    if not seen:
        return ["nobody was heard of yet; nodes announce themselves every minute"]
    rows = [
        (
            one["name"][:18],
            one["contributor"][:8],
            one["doing"],
            str(one["round"]) if one["round"] else "-",
            f"{one['step']}/{one['steps']}" if one["steps"] else "-",
            one["barnraise"][:9],
            f"{max(0, now - one['at_ms']) // 1000} s",
        )
        for one in seen
    ]
    return table(("NAME", "KEY", "DOING", " ROUND", " STEP", "VERSION", " SAID AGO"), rows)
