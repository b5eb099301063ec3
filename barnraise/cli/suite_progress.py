"""How far a suite is: a bar on a terminal, a line a measurement when piped, nothing with ``--json``.

It goes to standard error, so that standard output holds the result alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from barnraise.cli.output import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from coordinator.acceptance.run_suite import Of, Watch

__all__ = ["following", "say"]


def say(line: str, *, as_json: bool) -> None:
    """A line for people, before something takes long."""
    if not as_json:
        print(printable(line), file=sys.stderr, flush=True)


@contextmanager
def following(looks: int, *, as_json: bool) -> Iterator[Watch]:
    """Whoever is told how far a suite is.

    Args:
        looks: so many measurements are to come.
    """
    if as_json or not sys.stderr.isatty():
        yield _Lines(as_json)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as progress:
        yield _Bar(progress, progress.add_task("", total=looks))


class _Lines:
    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def begins(self, test: str, of: Of) -> None:
        pass

    def ends(self, test: str, of: Of, said: str) -> None:
        say(f"{test}, {of}: {said}", as_json=self._as_json)


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def begins(self, test: str, of: Of) -> None:
        self._progress.update(self._task, description=f"{of}: {test[:40]}")

    def ends(self, test: str, of: Of, said: str) -> None:
        self._progress.advance(self._task)
