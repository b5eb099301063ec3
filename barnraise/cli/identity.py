"""``barnraise identity``: the key that signs for you."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from barnraise.cli.output import print_result
from barnraise.cli.sources import JsonOption
from barnraise.identity import Identity, config_home

__all__ = ["identity"]


def identity(
    action: Annotated[Literal["show"], typer.Argument(help="show: print file and public key.")] = "show",
    key: Annotated[Path | None, typer.Option("--key", help="Another key file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the key that signs for you; it is made when there is none yet.

    Example: barnraise identity show
    """
    path = key or config_home() / "identity.key"
    made = not path.exists()
    public = Identity.load_or_create(path).public
    human = f"{public}\nits private half is in {path}{', made just now' if made else ''}; keep it to yourself"
    print_result("identity", {"public": public, "file": str(path), "made": made}, as_json=as_json, human=human)
