"""``barnraise operator``: the token for the operator's page, and what was done."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from barnraise.cli.ordering import RunOption, find_run
from barnraise.cli.output import JsonOption, print_result, printable, table
from barnraise.errors import UsageError

if TYPE_CHECKING:
    from coordinator.web.operator.audit import Entry

__all__ = ["operator"]


def operator(
    action: Annotated[Literal["token", "audit"], typer.Argument(help="token: show it. audit: who did what.")],
    run: RunOption = None,
    rotate: Annotated[bool, typer.Option("--rotate", help="Another token; all sessions end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the token that signs an operator in at /operator, or the audit log.

    Example: barnraise operator token --run ./barnraise-run
    """
    from barnraise.installation import require

    require("coordinator")
    folder = find_run(run)
    if action == "token":
        from coordinator.web.operator.token import make_token, token_path

        token = make_token(folder, again=rotate)
        human = f"{token}\nsigns in at /operator; it is kept in {token_path(folder)}, for nobody but you"
        print_result("operator", {"token": token, "rotated": rotate}, as_json=as_json, human=human)
        return
    if rotate:
        raise UsageError("--rotate is for the token: barnraise operator token --rotate")
    from coordinator.ledger import Ledger
    from coordinator.web.operator.audit import audit_log

    with closing(Ledger.open_reading(folder.ledger)) as ledger:
        entries = audit_log(ledger)
    _print_audit(entries, as_json=as_json)


def _print_audit(entries: Sequence[Entry], *, as_json: bool) -> None:
    from coordinator.web.words import date

    rows = [[date(one.at_ms), one.who, one.outcome or "-", printable(one.what)] for one in entries]
    human = "\n".join(table(["WHEN (UTC)", "WHO", "OUTCOME", "WHAT"], rows)) if rows else "nothing was ordered yet"
    print_result("operator", {"entries": [asdict(one) for one in entries]}, as_json=as_json, human=human)
