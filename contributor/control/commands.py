"""What each command does to a node: set a flag that the node looks at, and say what follows from it."""

from __future__ import annotations

from typing import Any

from contributor.control.lines import Command
from contributor.interrupt import Interrupt
from contributor.status import NodeStatus, Watch

__all__ = ["commands_of"]


def commands_of(interrupt: Interrupt, watch: Watch) -> dict[str, Command]:
    """The commands of one node, by name; each returns {"said", "status"}."""

    def told(said: str) -> dict[str, Any]:
        watch.set(asked=_asked(interrupt))
        return {"said": said, "status": watch.status.as_json()}

    def pause() -> dict[str, Any]:
        if interrupt.finish:
            return told("not paused: the node is about to stop anyway")
        interrupt.pause()
        return told(_paused(watch.status))

    def resume() -> dict[str, Any]:
        was_paused = interrupt.paused
        interrupt.resume()
        return told("goes on" if was_paused else "it was not paused")

    def finish() -> dict[str, Any]:
        interrupt.ask_finish()
        return told(_finishing(watch.status))

    def leave() -> dict[str, Any]:
        interrupt.ask_leave()
        return told("stops at the next step and gives its lease back; everything else is kept for the next join")

    return {"status": lambda: told(""), "pause": pause, "resume": resume, "finish": finish, "leave": leave}


def _asked(interrupt: Interrupt) -> str:
    if interrupt.leave:
        return "leave"
    if interrupt.finish:
        return "finish"
    return "pause" if interrupt.paused else ""


def _paused(status: NodeStatus) -> str:
    if status.doing == "training":
        return f"pauses after step {status.step + 1} of {status.steps}, with a checkpoint; go on with: barnraise resume"
    return "paused; go on with: barnraise resume"


def _finishing(status: NodeStatus) -> str:
    if status.doing == "training":
        return f"finishes the unit that it trains, at step {status.step} of {status.steps}, sends it, then stops"
    return "sends what is finished, then stops"
