"""``barnraise gc``: free the disk of what a run does not need."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from barnraise.cli.ordering import RunOption, find_run
from barnraise.cli.output import JsonOption, print_result, table

__all__ = ["gc"]


def gc(
    run: RunOption = None,
    older_than: Annotated[float, typer.Option("--older-than", min=0, help="Hours; what is younger stays.")] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and stop.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove blobs that nothing names: rejected candidates, interrupted imports.

    What the releases, the ledger or an open round need is never touched; a coordinator may run meanwhile.

    Example: barnraise gc --run ./my-run --dry-run
    """
    from barnraise.installation import require

    require("coordinator")
    from coordinator.gc import collect

    folder = find_run(run)
    done = collect(folder, now_ns=time.time_ns(), grace_s=3600 * older_than, dry_run=dry_run)
    removed, freed = sum(one.removed for one in done), sum(one.freed_bytes for one in done)
    result = {
        "folder": str(folder.root),
        "dry_run": dry_run,
        "removed": removed,
        "freed_bytes": freed,
        "places": [asdict(one) for one in done],
    }
    rows = [(one.place, f"{one.removed:,}", f"{one.freed_bytes:,}", f"{one.young:,}", f"{one.kept:,}") for one in done]
    said = f"{'would remove' if dry_run else 'removed'} {removed:,} file{'' if removed == 1 else 's'}, {freed:,} bytes"
    human = "\n".join([*table(("PLACE", " REMOVED", " BYTES FREED", " TOO YOUNG", " NEEDED"), rows), said])
    print_result("gc", result, as_json=as_json, human=human)
