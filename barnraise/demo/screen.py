"""What the demo shows: a live table on a terminal, plain lines when piped.

Paints a :class:`~barnraise.demo.scene.Scene` and decides nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from barnraise.demo.scene import Scene

__all__ = ["Screen", "opened"]


class Screen(Protocol):
    def tell(self, line: str) -> None:
        """One line of history."""

    def paint(self, scene: Scene) -> None:
        """The picture now."""


class Plain:
    """Lines with the seconds since the start; nothing is painted."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()

    def tell(self, line: str) -> None:
        print(f"[{time.monotonic() - self._start_s:6.1f} s] {line}", flush=True)

    def paint(self, scene: Scene) -> None:
        return


class Silent:
    """For ``--json``: the summary is all that is printed."""

    def tell(self, line: str) -> None:
        return

    def paint(self, scene: Scene) -> None:
        return


class Lively:
    """A terminal: history scrolls above, the table of volunteers stays below."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._start_s = time.monotonic()

    def tell(self, line: str) -> None:
        style = "red" if "REJECTED" in line else "bold green" if line.startswith("TAGGED") else ""
        stamp = f"{time.monotonic() - self._start_s:5.0f} s  "
        columns = Table.grid()
        columns.add_column(no_wrap=True)
        columns.add_column()
        columns.add_row(Text(stamp, "dim"), Text(line, style))
        self._live.console.print(columns)

    def paint(self, scene: Scene) -> None:
        self._live.update(picture(scene, time.monotonic() - self._start_s))


def picture(scene: Scene, elapsed_s: float) -> Group:
    """The table of volunteers and one line about the run."""
    table = Table(box=None, pad_edge=False, expand=False)
    for heading in ("volunteer", "trains on", "doing"):
        table.add_column(heading, no_wrap=True)
    for heading in ("loss", "units", "sent"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, volunteer in scene.volunteers.items():
        loss = f"{volunteer.loss:.2f}" if volunteer.loss is not None else ""
        row = (volunteer.shard, volunteer.doing, loss, str(volunteer.units), f"{volunteer.sent_bytes / 1e3:,.0f} kB")
        table.add_row(name, *row)
    newest = scene.releases[-1] if scene.releases else None
    status = Text(f"{elapsed_s:4.0f} s   round {scene.round}: {scene.phase}", style="bold")
    if newest:
        status.append(f"   newest {newest.version}, {newest.loss:.3f} bits per byte")
    return Group(Text(), status, table)


@contextmanager
def opened(*, as_json: bool) -> Iterator[Screen]:
    """The screen that fits: silent, live or plain."""
    console = Console(highlight=False)
    if as_json:
        yield Silent()
    elif console.is_terminal and sys.stdout.isatty():
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield Lively(live)
    else:
        yield Plain()
