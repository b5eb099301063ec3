"""``barnraise revoke``: ban a key, and take out of the trunk what it sent."""

from __future__ import annotations

from typing import Annotated

import typer

from barnraise.cli.ordering import AcceptOption, RunOption, accepted, give
from barnraise.cli.output import JsonOption
from barnraise.clock import millis_of
from barnraise.errors import UsageError

__all__ = ["revoke"]


def revoke(
    contributor: Annotated[str, typer.Argument(help="A contributor's key, or how it begins.")],
    run: RunOption = None,
    since: Annotated[str, typer.Option("--since", help="Date or time in UTC, such as 2026-11-01. Default: ever.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; the contributor is told.")] = "",
    accept: AcceptOption = None,
    undo: Annotated[bool, typer.Option("--undo", help="Lift the ban. What was reverted stays so.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ban CONTRIBUTOR, and make a release as if nothing it sent since then had been merged.

    The ban holds at once, whatever the acceptance tests say of the release.

    Example: barnraise revoke 9f31c2d04b --since 2026-11-01 --reason "poison" --run ./my-run
    """
    if undo and (since or accept):
        raise UsageError("--undo lifts the ban and nothing else; leave --since and --accept-regression away")
    if not undo and not reason:
        raise UsageError("say why with --reason TEXT; the contributor is told")
    from barnraise.installation import require

    require("coordinator")
    from coordinator.orders import LiftBan, Revoke

    since_ms = millis_of(since) if since else 0
    order = LiftBan(contributor, reason) if undo else Revoke(contributor, since_ms, reason, accepted(accept, reason))
    give("revoke", run, order, as_json=as_json)
