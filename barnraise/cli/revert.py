"""``barnraise revert``: a release as if updates had never been merged."""

from __future__ import annotations

from typing import Annotated

import typer

from barnraise.cli.ordering import AcceptOption, RunOption, accepted, give
from barnraise.cli.output import JsonOption

__all__ = ["revert"]


def revert(
    updates: Annotated[list[str], typer.Argument(help="Digests of merged updates, or how they begin.")],
    run: RunOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; goes into the release.")] = "",
    accept: AcceptOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new release as if UPDATES had never been merged.

    The rounds since then are merged again without them, the acceptance tests decide as always,
    and the new release says how the model and its tests changed. An open round ends for it.

    Example: barnraise revert b3:5f0c81aa92 --run ./my-run --reason "trained on the test set"
    """
    from barnraise.installation import require

    require("coordinator")
    from coordinator.orders import Revert

    give("revert", run, Revert(tuple(updates), reason, accepted(accept, reason)), as_json=as_json)
