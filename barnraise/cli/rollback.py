"""``barnraise rollback``: move a channel to another release."""

from __future__ import annotations

from typing import Annotated

import typer

from barnraise.cli.ordering import RunOption, give
from barnraise.cli.output import JsonOption

__all__ = ["rollback"]


def rollback(
    channel: Annotated[str, typer.Argument(help="Such as stable or nightly.")],
    version: Annotated[str, typer.Argument(help="The exact version that it shall point at, such as 1.3.0.")],
    run: RunOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; consumers are told.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Move a channel back (or forward again) to VERSION. Ranges follow stable at their next pull.

    Where nightly points, training goes on: rolling it back opens the next round from there.

    Example: barnraise rollback stable 1.3.0 --run ./my-run --reason "1.4.0 is slow"
    """
    from barnraise.installation import require

    require("coordinator")
    from coordinator.orders import MoveChannel

    give("rollback", run, MoveChannel(channel, version, reason), as_json=as_json)
