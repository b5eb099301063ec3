"""``barnraise pause``, ``resume``, ``finish`` and ``leave``: tell a node on this machine what to do, from any shell."""

from __future__ import annotations

from pathlib import Path

from barnraise.cli.nodes import HomeOption, KeyOption, RunNameOption, find_node
from barnraise.cli.output import JsonOption, print_result

__all__ = ["finish", "leave", "pause", "resume"]


def pause(
    run: RunNameOption = None, home: HomeOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Let a node rest at its next step, with a checkpoint and its memory freed.

    The lease stays: a pause longer than the lease costs the unit that was begun.

    Example: barnraise pause
    """
    _tell("pause", run, home, key, as_json=as_json)


def resume(
    run: RunNameOption = None, home: HomeOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Let a paused node go on where it was.

    Example: barnraise resume
    """
    _tell("resume", run, home, key, as_json=as_json)


def finish(
    run: RunNameOption = None, home: HomeOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Let a node complete and send the unit that it has begun, then stop.

    Example: barnraise finish --run stdlib-lm
    """
    _tell("finish", run, home, key, as_json=as_json)


def leave(
    run: RunNameOption = None, home: HomeOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Stop a node at its next step and give its lease back, so that others need not wait for it.

    Nothing else is forgotten: joining again goes on with what was left over, sent and learnt.

    Example: barnraise leave
    """
    _tell("leave", run, home, key, as_json=as_json)


def _tell(command: str, run: str | None, home: Path | None, key: str | None, *, as_json: bool) -> None:
    node = find_node(run, home, key)
    from contributor.control.asking import ask

    result = ask(node.folder, command)
    who = f"{result['status']['name']} for {node.run}" if result["status"]["name"] else f"the node for {node.run}"
    print_result(command, {"folder": str(node.folder), **result}, as_json=as_json, human=f"{who}: {result['said']}")
