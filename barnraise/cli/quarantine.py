"""``barnraise quarantine``: measure what a contributor sends, and merge none of it."""

from __future__ import annotations

from typing import Annotated

import typer

from barnraise.cli.ordering import RunOption, give
from barnraise.cli.output import JsonOption
from barnraise.errors import UsageError

__all__ = ["quarantine"]


def quarantine(
    contributor: Annotated[str, typer.Argument(help="A contributor's key, or how it begins.")],
    run: RunOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; the contributor is told with each update.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Let it out: what it sends from now on is merged.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a contributor into quarantine: its updates are checked and scored as ever, and not merged.

    What it had sent before stays; to take that out as well, revoke the key.

    Example: barnraise quarantine 9f31c2d04b --reason "too good to be true" --run ./my-run
    """
    if not (reason or undo):
        raise UsageError("say why with --reason TEXT, or let it out with --undo")
    from barnraise.installation import require

    require("coordinator")
    from coordinator.orders import EndQuarantine, Quarantine

    order = EndQuarantine(contributor, reason) if undo else Quarantine(contributor, reason)
    give("quarantine", run, order, as_json=as_json)
