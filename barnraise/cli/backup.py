"""``barnraise backup``: a copy of a run that can be continued elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barnraise.cli.output import JsonOption, print_result, print_warnings
from barnraise.clock import now_ms
from barnraise.errors import BackupError

__all__ = ["backup"]


def backup(
    run: Annotated[Path, typer.Argument(help="Folder of the run; a coordinator may work in it.")],
    dest: Annotated[Path, typer.Argument(help="Folder for backups of this run; only what is new is added.")],
    with_keys: Annotated[bool, typer.Option("--with-keys", help="Private keys too, for their owner only.")] = False,
    by_size: Annotated[
        bool,
        typer.Option("--by-size", help="Believe earlier copies of the right size; else all are read and compared."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Back up a run, consistent while it runs.

    Without --with-keys a backup holds no secret, and a run that is restored from it needs its keys from elsewhere.

    Example: barnraise backup ./my-run /mnt/backups/my-run
    """
    from barnraise.installation import require

    require("coordinator")
    from barnraise.run_folder import RunFolder
    from coordinator.backup import backup as make

    done = make(RunFolder(run.resolve()), dest, now_ms=now_ms(), with_keys=with_keys, by_size=by_size)
    if done.missing:
        print_warnings(done.missing, as_json=False)
        raise BackupError(
            f"{done.path} was written, and lacks {len(done.missing)} blobs that the run itself lacks; "
            "look with: barnraise fsck"
        )
    result = {
        "backup": str(done.path),
        "blobs": done.blobs,
        "total_bytes": done.total_bytes,
        "added_bytes": done.added_bytes,
        "replaced": done.replaced,
        "with_keys": done.with_keys,
    }
    keys = "with its keys" if done.with_keys else "without its keys"
    human = (
        f"{done.path.stem}: {done.blobs:,} blobs of {done.total_bytes:,} bytes, {keys}\n"
        f"{done.added_bytes:,} bytes were added; restore with: barnraise restore {dest} NEW-FOLDER"
    )
    if done.replaced:
        human += f"\n{done.replaced:,} of earlier backups had rotted, and were replaced"
    print_result("backup", result, as_json=as_json, human=human)
