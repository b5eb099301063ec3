"""``barnraise fsck``: is everything that a run, a mirror or a folder of backups stores in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from barnraise.cli.ordering import find_run
from barnraise.cli.output import JsonOption, print_error, print_result, printable
from barnraise.errors import DamagedStoreError, UsageError

__all__ = ["fsck"]


def fsck(
    place: Annotated[
        Path | None,
        typer.Option("--run", help="Folder of a run, of a mirror, or of backups. Default: a run right here."),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended, and check again.")] = False,
    source: Annotated[
        str | None, typer.Option("--from", help="With --repair: mirror to fetch damaged and missing blobs from.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every blob, reference, table and signature; findings one a line.

    Example: barnraise fsck --run ./my-run --repair --from https://mirror.example
    """
    from barnraise.installation import require

    require("coordinator")
    from barnraise.releases.source import open_source
    from coordinator.fsck import fsck as check
    from coordinator.repair import repair_all

    if source is not None and not repair:
        raise UsageError("--from says where to repair from; add --repair")
    where = place.resolve() if place is not None else find_run(None).root
    if repair:
        checked, mended = repair_all(where, open_source(source) if source is not None else None)
    else:
        checked, mended = check(where), []
    result: dict[str, Any] = {
        "folder": str(where),
        "blobs": checked.blobs,
        "size_bytes": checked.size_bytes,
        "references": checked.references,
        "findings": [{"part": finding.part, "what": finding.what} for finding in checked.findings],
        "repaired": mended,
    }
    lines = [*(f"repair: {line}" for line in mended), *(f"{f.part}: {f.what}" for f in checked.findings)]
    looked = f"{checked.blobs:,} blobs of {checked.size_bytes:,} bytes, {checked.references:,} references"
    if not checked.findings:
        print_result("fsck", result, as_json=as_json, human="\n".join([*lines, f"{looked}: all in order"]))
        return
    error = DamagedStoreError(
        f"{looked}: {len(checked.findings)} finding{'' if len(checked.findings) == 1 else 's'} in {where}"
    )
    if as_json:
        told = {"code": error.code, "reason": error.reason}
        print(json.dumps({"ok": False, "command": "fsck", "error": told, "result": result}, sort_keys=True))
    else:
        print(printable("\n".join(lines)))
        print_error("fsck", error, as_json=False)
    raise typer.Exit(error.exit_code)
