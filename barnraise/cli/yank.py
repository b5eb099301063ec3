"""``barnraise yank``: mark a release as one that nobody should start to use."""

from __future__ import annotations

from typing import Annotated

import typer

from barnraise.cli.ordering import RunOption, give
from barnraise.cli.output import JsonOption
from barnraise.errors import UsageError

__all__ = ["yank"]


def yank(
    version: Annotated[str, typer.Argument(help="An exact version, such as 1.4.0.")],
    run: RunOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever asks for it is told.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the mark away.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Yank a release: no range chooses it any more; by exact number it can be had, with a warning.

    Example: barnraise yank 1.4.0 --reason "forgets its French" --run ./my-run
    """
    if bool(reason) == undo:
        raise UsageError("say why with --reason TEXT, or take it back with --undo")
    from barnraise.installation import require

    require("coordinator")
    from coordinator.orders import Yank

    give("yank", run, Yank(version, None if undo else reason), as_json=as_json)
