"""When a node meets a fault of its own: a file that tells what happened, and one sentence that names it.

The file is for whoever mends the fault: the traceback, the last events, versions. It holds no
key, no token, no training text and no value of a variable, so it can be attached to a public
issue; names of folders are cut down to those below the user's home.
"""

from __future__ import annotations

import platform
import sys
import traceback
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from barnraise.errors import NodeCrashedError
from barnraise.releases.durable import make_folder, replace_file
from contributor.events import NodeEvent

__all__ = ["Crash", "Flight", "crash"]

EVENTS_KEPT, REPORTS_KEPT = 50, 20
OURS = ("barnraise", "contributor", "merge")
PACKAGES = ("barnraise", "torch", "numpy", "safetensors", "urllib3", "cryptography", "blake3")


class Flight:
    """Remembers the last events of a node."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, str]] = deque(maxlen=EVENTS_KEPT)

    def note(self, event: NodeEvent, at_ms: int) -> None:
        self._events.append((at_ms, event.line()))

    def lines(self) -> list[str]:
        return [f"{_time(at_ms)}  {line}" for at_ms, line in self._events]


@dataclass(frozen=True, slots=True)
class Crash:
    """A fault of the node's own, and its report. Holds nothing of what failed.

    Attributes:
        what: the exception, in one line. where: its report is, as a clause.
        place: which exception, raised where in our code; equal for the same fault.
    """

    what: str
    where: str
    place: str

    def line(self) -> str:
        """For a node that goes on."""
        return f"{self.where}, send it to the project if it happens twice: {self.what}"

    def error(self, gave_up: str = "") -> NodeCrashedError:
        """For a node that ends."""
        also = f"; it {gave_up}" if gave_up else ""
        return NodeCrashedError(
            f"the node ended by a fault of its own, {self.what}; {self.where}{also}. What was trained is kept: "
            "join again to go on, and send that file to the project if it happens twice"
        )


def crash(error: BaseException, folder: Path, flight: Flight, at_ms: int) -> Crash:
    """Write the report.

    Args:
        folder: for reports; made when missing.
    """
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    path = folder / f"crash-{_time(at_ms).replace(':', '').replace(' ', 'T')}.txt"
    try:
        make_folder(folder)
        replace_file(path, _report(error, flight, at_ms).encode("utf-8", "replace"))
        _forget_old(folder)
    except OSError as failure:
        where = f"its report could not be written ({failure.strerror or failure})"
    else:
        where = f"the report is {path}"
    return Crash(_line(what), where, f"{type(error).__name__} in {_place(error)}")


def _place(error: BaseException) -> str:
    """The innermost line of ours that raised, or else of anybody's: what lies below may come by many ways."""
    frames = [(frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [found for found in frames if found[0].partition(".")[0] in OURS]
    return ":".join(map(str, (ours or frames or [("nowhere", 0)])[-1]))


def _report(error: BaseException, flight: Flight, at_ms: int) -> str:
    parts = [
        f"A Barnraise node met a fault of its own at {_time(at_ms)} UTC.",
        "",
        "".join(traceback.format_exception(error)).rstrip(),
        "",
        "Last events:",
        *(flight.lines() or ["none"]),
        "",
        "Versions:",
        f"python {sys.version.split()[0]} on {platform.platform()}",
        *(f"{name} {_version(name)}" for name in PACKAGES),
    ]
    return _without_home("\n".join(parts)) + "\n"


def _without_home(text: str) -> str:
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:300]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _forget_old(folder: Path) -> None:
    for path in sorted(folder.glob("crash-*.txt"))[:-REPORTS_KEPT]:
        path.unlink(missing_ok=True)
