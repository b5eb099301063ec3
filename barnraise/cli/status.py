"""``barnraise status``: what the nodes on this machine are doing, and why they wait."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from barnraise.cli.nodes import HomeOption, KeyOption, RunNameOption, find_node, nodes_here
from barnraise.cli.output import JsonOption, field, print_result
from barnraise.clock import lasting, now_ms
from barnraise.errors import BarnraiseError, NoNodeError
from barnraise.narrate import short

if TYPE_CHECKING:
    from contributor.control.finding import FoundNode

__all__ = ["status"]

FATES_TOLD = 5
DOING = {
    "starting": "is starting",
    "pulling": "fetches the model",
    "training": "trains",
    "sending": "sends an update",
    "waiting": "waits",
    "resting": "rests",
    "stopped": "has stopped",
    "crashed": "has crashed",
}


def status(
    run: RunNameOption = None, home: HomeOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Say what a node does and why it waits: loss, units, bytes, the last receipt, fates.

    Of all nodes of this user where none is named. Of one that does not run: what its folder knows.

    Example: barnraise status --json
    """
    chosen = [find_node(run, home, key)] if run is not None or key is not None else nodes_here(home)
    if not chosen:
        find_node(run, home, key)  # says that there is none, and what to do
    known = [_known(node) for node in chosen]
    human = "\n\n".join("\n".join(_words(one)) for one in known)
    print_result("status", {"nodes": known}, as_json=as_json, human=human)


def _known(node: FoundNode) -> dict[str, Any]:
    """A node as it says itself, or as its folder has it."""
    from contributor.control.asking import ask
    from contributor.folder import NodeFolder
    from contributor.status import read_status

    folder = NodeFolder(node.folder)
    about: dict[str, Any] = {
        "run": node.run,
        "key": node.key,
        "folder": str(node.folder),
        "url": node.url,
        "running": node.process is not None,
        "problem": "",
    }
    found: dict[str, Any] | None = None
    if node.process is not None:
        try:
            found = dict(ask(node.folder, "status")["status"])
        except NoNodeError:
            about["running"] = False  # it ended this moment
        except BarnraiseError as error:
            about["problem"] = error.reason
    if found is None and (kept := read_status(folder.status)) is not None:
        found = kept.as_json()
    return {**about, "status": found, **_stored(node.folder)}


def _stored(root: Path) -> dict[str, Any]:
    """What the folder itself says: updates on their way, a unit that was stopped in the middle."""
    from contributor.folder import NodeFolder

    folder = NodeFolder(root)
    try:
        state = folder.load()
    except BarnraiseError as error:
        return {"outbox": [], "sent": [], "checkpoint": False, "state_problem": error.reason}
    return {
        "outbox": [unit.digest for unit in state.outbox],
        "sent": [update.digest for update in state.sent],
        "checkpoint": folder.checkpoint.exists(),
        "state_problem": "",
    }


# -- in words ----------------------------------------------------------------------------------


def _words(known: dict[str, Any]) -> list[str]:
    found, now = known["status"], now_ms()
    lines = [_headline(known, found, now)]
    if known["problem"]:
        lines += field("problem", known["problem"])
    if found is not None:
        is_begun = known["running"] or known["checkpoint"]
        shown = found if is_begun else {**found, "steps": 0}  # what was given back is no unit any more
        lines += _of_status(shown, now, is_running=known["running"])
    if known["outbox"]:
        waiting = ", ".join(short(digest) for digest in known["outbox"])
        lines += field("outbox", f"{waiting}: finished, and without a receipt yet")
    if known["sent"]:
        lines += field("sent", f"{', '.join(short(digest) for digest in known['sent'])}: fate not known yet")
    if known["state_problem"]:
        lines += field("problem", known["state_problem"])
    lines += field("folder", known["folder"])
    if not known["running"]:
        lines.append(_start(known))
    return lines


def _headline(known: dict[str, Any], found: dict[str, Any] | None, now: int) -> str:
    name = f"{found['name']} ({known['key']})" if found is not None and found["name"] else known["key"]
    who = f"{name} for {known['run']}"
    if not known["running"]:
        return f"{who}: no node runs"
    if found is None:
        return f"{who}: runs, and cannot be asked"
    doing = f"{DOING.get(found['doing'], found['doing'])}{_since(found['since_ms'], now)}"
    return f"{who}: {doing}, process {found['pid']}"


def _of_status(found: dict[str, Any], now: int, *, is_running: bool) -> list[str]:
    lines: list[str] = []
    if not is_running:
        lines += field("ended", _end(found, now))
    elif found["why"]:
        lines += field("why", found["why"])
    if found["asked"] and is_running:
        lines += field("asked", "finish this unit, then stop" if found["asked"] == "finish" else found["asked"])
    if found["steps"]:
        loss = f", loss {found['loss']:.3f} {found['unit']}" if found["loss"] is not None else ""
        where = f"round {found['round']}, {found['shard']}, from {found['base_version']}"
        lines += field("unit", f"step {found['step']} of {found['steps']}{loss}; {where}")
    lines += field("units", f"{found['units']:,} with a receipt, {found['tokens']:,} tokens, since it was started")
    lines += field("bytes", f"{found['bytes_up']:,} sent, {found['bytes_down']:,} fetched")
    receipt = found["last_receipt"]
    if receipt:
        lines += field("receipt", f"{short(receipt['digest'])}, round {receipt['round']}{_ago(receipt['at_ms'], now)}")
    for fate in found["fates"][-FATES_TOLD:][::-1]:
        lines += field("fate", f"{short(fate['digest'])} {fate['state']}: {fate['reason']}")
    lines += _of_swarm(found, is_running=is_running)
    if found["page"] and is_running:
        lines += field("page", found["page"])
    return lines


def _start(known: dict[str, Any]) -> str:
    """How to start it again: one line, however long, for the first half of the command would begin another node."""
    from contributor.folder import NodeFolder

    (label,) = field("start with", "")
    goes_on = "; the unit that was begun goes on" if known["checkpoint"] else ""
    return f"{label} barnraise join {known['url']}{NodeFolder(Path(known['folder'])).join_options}{goes_on}"


def _end(found: dict[str, Any], now: int) -> str:
    """How a node ended. One that said nothing of it was killed; nobody noted when."""
    from contributor.status import ENDS, WHO_KILLS

    if found["doing"] in ENDS:
        return f"{found['doing']}{_ago(found['since_ms'], now)}{': ' + found['why'] if found['why'] else ''}"
    started = _ago(found["started_at_ms"], now).lstrip(",")
    return f"was killed, or its machine went down; it was started{started}. {WHO_KILLS}"


def _of_swarm(found: dict[str, Any], *, is_running: bool) -> list[str]:
    """How the three are that are wanted of the swarm; of a node that has ended, what they saved."""
    from contributor.swarm.status import SwarmStatus

    said = SwarmStatus.from_json(found.get("swarm")).words(is_running=is_running)
    return [line for label, words in said for line in field(label, words)]


def _since(then_ms: int, now: int) -> str:
    return f" for {lasting(now - then_ms)}" if then_ms else ""


def _ago(then_ms: int, now: int) -> str:
    return f", {lasting(now - then_ms)} ago" if then_ms else ""
