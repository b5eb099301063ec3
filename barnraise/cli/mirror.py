"""``barnraise mirror``: a folder for any static file server, in step with a run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Annotated, Any, NoReturn

import typer

from barnraise.cli.output import print_result, print_warnings, printable
from barnraise.cli.pull import ConnectionsOption
from barnraise.cli.pull_progress import copying
from barnraise.cli.sources import JsonOption, TrustOption
from barnraise.errors import NetworkError, VerificationError
from barnraise.releases.fetch import CONNECTIONS, FetchOptions
from barnraise.releases.mirror import Mirrored, MirrorOptions
from barnraise.releases.mirror import mirror as mirror_release
from barnraise.releases.source import ReleaseSource, open_source
from barnraise.releases.trust import TrustOptions

__all__ = ["mirror"]

SHORTEST_WATCH_S = 1.0


def mirror(
    source: Annotated[str, typer.Argument(help="Coordinator's URL, another mirror, or folder.")],
    folder: Annotated[Path, typer.Argument(help="Folder of the mirror, new or kept so far.")],
    watch: Annotated[
        float | None, typer.Option("--watch", min=SHORTEST_WATCH_S, help="Do it again, with so many seconds between.")
    ] = None,
    updates: Annotated[bool, typer.Option("--updates", help="Also copy merged updates, to recompute from.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Compare the digest of all that is there already.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what no listed release needs any more.")] = False,
    trust: TrustOption = None,
    connections: ConnectionsOption = CONNECTIONS,
    as_json: JsonOption = False,
) -> None:
    """Keep a static copy of all releases of a run; any file server of the folder is a mirror.

    With --watch it goes on until it is stopped; an error is told, and tried again next time.

    Example: barnraise mirror http://127.0.0.1:8000 ./mirror --watch 60
    """
    place = open_source(source)
    options = MirrorOptions(
        trust=TrustOptions.of(trust),
        updates=updates,
        check=check,
        prune=prune,
        fetch=FetchOptions(connections=connections),
    )
    if watch is None:
        _tell(_once(place, folder, options, as_json), folder, as_json)
        return

    def follow() -> None:
        done = _once(place, folder, options, as_json)
        if done.changed or done.warnings:
            _tell(done, folder, as_json)

    _again_and_again(follow, watch, Event().wait)


def _again_and_again(follow: Callable[[], None], pause_s: float, wait: Callable[[float], object]) -> NoReturn:
    """Bring a mirror in step until somebody presses Ctrl-C; what goes wrong may go well next time."""
    while True:
        try:
            follow()
        except (NetworkError, VerificationError) as error:
            print(f"barnraise: {printable(error.reason)}; the mirror is as it was", file=sys.stderr, flush=True)
        wait(pause_s)


def _once(place: ReleaseSource, folder: Path, options: MirrorOptions, as_json: bool) -> Mirrored:
    with copying(as_json=as_json) as progress:
        return mirror_release(place, folder.absolute(), options, progress)


def _tell(done: Mirrored, folder: Path, as_json: bool) -> None:
    result: dict[str, Any] = {
        "name": done.name,
        "version": done.version,
        "folder": str(folder.absolute()),
        "changed": done.changed,
        "releases": done.releases,
        "blobs": done.blobs,
        "fetched_blobs": done.fetched_blobs,
        "fetched_bytes": done.fetched_bytes,
        "removed": done.removed,
        "warnings": list(done.warnings),
    }
    print_warnings(done.warnings, as_json=as_json)
    count = f"{done.releases} release{'' if done.releases == 1 else 's'} up to {done.version}"
    if done.changed:
        removed = f", {done.removed} files removed" if done.removed else ""
        what = f"{done.fetched_blobs} of {done.blobs} blobs fetched ({done.fetched_bytes:,} bytes){removed}"
        human = f"{folder} is in step with {done.name}: {count}; {what}"
    else:
        human = f"{folder} was in step with {done.name} already: {count}"
    print_result("mirror", result, as_json=as_json, human=human)
    sys.stdout.flush()
