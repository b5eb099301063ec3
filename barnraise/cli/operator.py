"""``barnraise operator``: the token for the operator's page, and what was done."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from barnraise.cli.ordering import RunOption, find_run
from barnraise.cli.output import JsonOption, print_result, printable, table
from barnraise.errors import UsageError

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

    ledger = Ledger.open(folder.ledger)
    try:
        entries = audit_log(ledger)
    finally:
        ledger.close()
    _print_audit([asdict(entry) for entry in entries], as_json=as_json)


def _print_audit(entries: list[dict[str, object]], *, as_json: bool) -> None:
    from coordinator.web.words import date

    rows = [
        [date(int(str(one["at_ms"]))), str(one["who"]), str(one["outcome"] or "-"), printable(str(one["what"]))]
        for one in entries
    ]
    human = "\n".join(table(["WHEN (UTC)", "WHO", "OUTCOME", "WHAT"], rows)) if rows else "nothing was ordered yet"
    print_result("operator", {"entries": entries}, as_json=as_json, human=human)
