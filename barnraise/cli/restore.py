"""``barnraise restore``: make a run folder again from a backup."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from barnraise.cli.output import JsonOption, print_result, print_warnings

__all__ = ["restore"]


def restore(
    source: Annotated[Path, typer.Argument(help="Folder that barnraise backup wrote to.")],
    run: Annotated[Path, typer.Argument(help="New folder for the run; must not exist, or be empty.")],
    at: Annotated[str | None, typer.Option("--at", help="How the backup's name begins. Default: the newest.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a run, every byte verified; continue it with barnraise serve.

    Example: barnraise restore /mnt/backups/my-run ./my-run
    """
    from barnraise.installation import require

    require("coordinator")
    from barnraise.run_folder import RunFolder
    from coordinator.restore import restore as make

    done = make(source, RunFolder(run.resolve()), at)
    warnings = [f"when the backup was made, {what}" for what in done.missing]
    if not done.with_keys:
        warnings.append(
            f"this backup has no keys: put the run's own into {done.folder / 'keys'} before it is served, or nobody "
            "who knows the run will trust it"
        )
    print_warnings(warnings, as_json=as_json)
    result = {
        "run": done.run,
        "backup": str(done.backup),
        "folder": str(done.folder),
        "at_ms": done.at_ms,
        "blobs": done.blobs,
        "size_bytes": done.size_bytes,
        "with_keys": done.with_keys,
        "warnings": warnings,
    }
    made = datetime.fromtimestamp(done.at_ms / 1000, UTC)
    human = (
        f"{done.run} as of {made:%Y-%m-%d %H:%M:%S} UTC is in {done.folder}: {done.blobs:,} blobs of "
        f"{done.size_bytes:,} bytes, verified\ncontinue it with: barnraise serve {done.folder}"
    )
    print_result("restore", result, as_json=as_json, human=human)
