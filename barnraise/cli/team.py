"""``barnraise team``: the key that the members of a team share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from barnraise.cli.output import JsonOption, print_result, wrapped

__all__ = ["team"]


def team(
    action: Annotated[Literal["new", "show"], typer.Argument(help="new: make a key. show: print its fingerprint.")],
    file: Annotated[Path, typer.Argument(help="Where the key is, or shall be.")],
    as_json: JsonOption = False,
) -> None:
    """Make or look at the key of a team, whose machines average before one of them sends.

    One member makes it and hands it on as a secret: who has it can read and spoil what the
    team averages. Each member then joins with it, with a signing key of its own.

    Example: barnraise team new team.key
    """
    from barnraise.swarm.team_key import TeamKey

    key = TeamKey.create(file) if action == "new" else TeamKey.load(file)
    result = {"file": str(file), "fingerprint": key.fingerprint, "new": action == "new"}
    lines = wrapped(f"{file} has the fingerprint {key.fingerprint}", "")
    if action == "new":
        told = (
            "Hand the file to the other members as you would hand on a password, and compare the fingerprint. Every "
            f"member then adds: --team NAME --team-key {file}"
        )
        lines += ["", *wrapped(told, "")]
    print_result("team", result, as_json=as_json, human="\n".join(lines))
