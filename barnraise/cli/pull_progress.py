"""How far a pull is: a bar on a terminal, with bytes, rate, and what is being fetched; nothing elsewhere.

It goes to standard error, so that standard output holds the result alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from barnraise.message import BlobRef
from barnraise.releases.derived.plan import DerivedPlan
from barnraise.releases.fetch import Progress
from barnraise.releases.plan import Plan

__all__ = ["copying", "fetching"]


@contextmanager
def fetching(plan: Plan | DerivedPlan, *, as_json: bool) -> Iterator[Progress]:
    """A function to tell how many more bytes of a blob are there; any thread may call it."""
    if as_json or not plan.fetch_bytes or not sys.stderr.isatty():
        yield lambda blob, count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    names = _names(plan)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as progress:
        task = progress.add_task("fetching", total=plan.fetch_bytes)

        def advance(blob: BlobRef, count: int) -> None:
            progress.update(task, advance=count, description=names.get(blob.digest, "documents"))

        yield advance


@contextmanager
def copying(*, as_json: bool) -> Iterator[Progress]:
    """The same where nobody knows in advance how much there is."""
    if as_json or not sys.stderr.isatty():
        yield lambda blob, count: None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, SpinnerColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), "fetching", DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as progress:
        task = progress.add_task("", total=None)
        yield lambda blob, count: progress.advance(task, count)


def _names(plan: Plan | DerivedPlan) -> dict[str, str]:
    """Digest -> what it is, in a few letters: half of a line is the bar's."""
    names = {step.blob.digest: f"patch {step.version}" for step in plan.patches}
    if isinstance(plan, DerivedPlan):
        names |= {blob.digest: f"{plan.name} {plan.version}" for blob in plan.tensors}
    return {**names, plan.keyframe.digest: f"keyframe {plan.start}"} if plan.keyframe else names
